import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.aws.execution_history import History, rank_in
from tests.support.execution_histories import DISTRIBUTED, INLINE, RETRIED, event


def test_phases_are_the_states_before_the_map_the_map_and_those_after():
    history = History(INLINE)
    assert (history.initialize.name, history.initialize.seconds) == ("Initialize", 2)
    assert (history.map.name, history.map.seconds) == ("Fan out", 20)
    assert (history.summarize.name, history.summarize.seconds) == ("Summarize", 3)
    assert [kind for kind, _ in history.states] == ["Task", "Map", "Task"]


def test_several_states_before_the_map_are_one_phase():
    extra = [
        event(1, "PassStateEntered", 0, name="Tidy"),
        event(2, "PassStateExited", 1, name="Tidy"),
        event(3, "TaskStateEntered", 1, name="Plan"),
        event(4, "TaskStateExited", 5, name="Plan"),
        event(5, "MapStateEntered", 5, name="Map"),
    ]
    history = History(extra)
    assert (history.initialize.name, history.initialize.seconds) == ("Tidy, Plan", 5)
    assert history.map.seconds is None
    assert history.summarize is None


def test_a_map_that_failed_ends_with_its_execution():
    history = History([event(1, "MapStateEntered", 10, name="Map"), event(2, "ExecutionFailed", 17)])
    assert history.map.seconds == 7


def test_events_may_come_in_any_order():
    assert History(reversed(INLINE)).states == History(INLINE).states
    assert History(reversed(INLINE)).attempts == History(INLINE).attempts


def test_two_events_that_share_an_id_both_count():
    """As an emulator writes them when two calls end at once."""
    twins = [event(1, "MapStateEntered", 0, name="Map"), event(2, "TaskSucceeded", 1), event(2, "TaskSucceeded", 1)]
    assert History(twins).succeeded == 2


def test_timestamps_may_be_numbers_or_datetimes():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    history = History([{"id": 1, "type": "ExecutionFailed", "timestamp": moment}])
    assert history.ended_at == moment.timestamp()


def test_items_of_an_inline_map_are_counted_and_timed():
    history = History(INLINE)
    assert (history.items, history.succeeded) == (3, 2)
    assert history.item_seconds == [5, 10, 15]
    assert history.peak_concurrency == 2


def test_items_without_iterations_in_the_history_are_counted_by_calls():
    bare = [
        event(1, "TaskSucceeded", 0),
        event(2, "MapStateEntered", 1, name="Map"),
        event(3, "TaskScheduled", 1),
        event(4, "TaskScheduled", 1),
        event(5, "TaskSucceeded", 2),
        event(6, "TaskSucceeded", 2),
        event(7, "MapStateExited", 3, name="Map"),
        event(8, "TaskSucceeded", 4),
    ]
    history = History(bare)
    assert (history.succeeded, history.items, history.item_seconds) == (2, None, [])
    assert history.peak_concurrency == 2
    assert history.retries is None


def test_an_attempt_is_tied_to_the_rank_in_its_items_input():
    calls = {call.rank: call for call in History(INLINE).attempts if call.rank is not None}
    assert sorted(calls) == [0, 1, 2]
    assert calls[0].error is None
    assert calls[2].error == "RankFailed"
    assert json.loads(calls[2].cause)["errorMessage"] == "out of luck"
    assert (calls[2].started_at, calls[2].ended_at) == (107, 122)


def test_the_rank_is_found_in_the_payload_of_a_service_integration():
    history = History(
        [
            event(1, "TaskScheduled", 0, parameters=json.dumps({"FunctionName": "f", "Payload": {"RANK": "7"}})),
            event(2, "TaskStarted", 0, 1),
            event(3, "TaskTimedOut", 9, 2, error="States.Timeout"),
        ]
    )
    assert [(call.rank, call.error, call.started_at) for call in history.attempts] == [(7, "States.Timeout", 100)]


def test_every_retry_is_an_attempt_and_a_state_transition():
    history = History(RETRIED)
    assert [(call.rank, call.error) for call in history.attempts] == [
        (4, "Lambda.TooManyRequestsException"),
        (4, "Lambda.Unknown"),
        (4, None),
    ]
    assert history.retries == 2
    assert history.state_transitions == 4  # map, task, two retries


def test_state_transitions_are_the_states_entered():
    assert History(INLINE).state_transitions == 6  # three of the machine and three of its items


def test_a_distributed_maps_history_holds_its_phases_and_not_its_items():
    history = History(DISTRIBUTED)
    assert (history.initialize.seconds, history.map.seconds, history.summarize.seconds) == (2, 30, 1)
    assert (history.succeeded, history.attempts) == (0, [])


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (7, "no object"),
        ({"type": "TaskFailed", "timestamp": 1}, "wrong id"),
        ({"id": 3, "timestamp": 1}, "event 3 .* no type"),
        ({"id": 3, "type": "TaskFailed"}, "event 3 .* wrong timestamp"),
        ({"id": 3, "type": "TaskFailed", "timestamp": math.nan}, "wrong timestamp"),
        ({"id": 3, "type": "TaskFailed", "timestamp": 1, "taskFailedEventDetails": 4}, "wrong details"),
    ],
)
def test_an_event_of_another_kind_is_refused_by_its_number(wrong, expected):
    with pytest.raises(BadInput, match=expected):
        History([wrong])


@given(st.data())
def test_a_history_with_events_missing_and_shuffled_is_still_read(data):
    events = data.draw(st.permutations(data.draw(st.sampled_from([INLINE, DISTRIBUTED, RETRIED]))))
    read_all(History(events[: data.draw(st.integers(0, len(events)))]))


TYPES = sorted({event["type"] for event in [*INLINE, *DISTRIBUTED, *RETRIED]})
VALUES = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
ANY = st.recursive(VALUES, lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3))
EVENTS = st.fixed_dictionaries(
    {"id": st.integers(1, 50), "type": st.sampled_from(TYPES) | st.text(max_size=5), "timestamp": st.floats(0, 1e9)},
    optional={
        "previousEventId": st.integers(0, 50) | VALUES,
        "someEventDetails": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("name", "index", "length", "input", "parameters", "error", "cause"), ANY)
        ),
    },
)


@given(st.lists(EVENTS | ANY, max_size=30))
def test_whatever_a_history_holds_it_is_read_or_refused_in_one_sentence(events):
    try:
        read_all(History(events))
    except BadInput as refusal:
        assert "history" in str(refusal)


@given(st.lists(EVENTS, max_size=40))
def test_numbers_of_a_history_are_never_negative(events):
    history = History(events)
    assert history.state_transitions >= 0
    assert history.peak_concurrency >= 0
    assert all(call.started_at <= call.ended_at for call in history.attempts)


@pytest.mark.parametrize(
    ("text", "rank"),
    [
        ('{"RANK": "12"}', 12),
        ('{"RANK": 12}', 12),
        ('{"Payload": {"RANK": "3"}}', 3),
        ('{"RANK": "x"}', None),
        ('{"RANK": -1}', None),
        ('{"RANK": true}', None),
        ("[1]", None),
        ("{", None),
        (None, None),
        ("[" * 100_000, None),
    ],
)
def test_a_rank_is_read_from_an_items_input(text, rank):
    assert rank_in(text) == rank


def read_all(history):
    for name in ("initialize", "map", "summarize", "items", "succeeded", "item_seconds", "peak_concurrency"):
        getattr(history, name)
    return history.state_transitions, history.retries, history.attempts, history.ended_at

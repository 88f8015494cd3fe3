import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.invocations.invocation import STILL_RUNNING, Invocation
from tasks.invocations.ledger import Ledger
from tasks.invocations.stored import (
    beyond_note,
    keep_invocations,
    keep_killed,
    load_invocations,
    load_killed,
    of_records,
)
from tests.support.wire_examples import RESULT

BUCKET, PATH = "cosmicai-test", "results/test"
PRINTS = {0: "print-0", 1: "print-1"}
RESULTS = [dataclasses.replace(RESULT, rank=rank) for rank in range(3)]


def invocation(rank=0, **changes):
    raised = {
        "rank": rank,
        "attempt": 1,
        "started_at": 100.0 + rank,
        "ended_at": 103.5 + rank,
        "duration_s": 3.0,
        "init_s": 0.5,
        "billed_s": 3.5,
        "billed_how": "measured here, an estimate",
        "memory_mb": 10_240,
        "max_memory_mb": 210.3,
        "cold": True,
        "request_id": "local-1",
        "worker": "pid 4",
    }
    return Invocation(**(raised | changes))


def done(rank=0, **changes):
    return invocation(rank, result=dataclasses.replace(RESULT, rank=rank), **changes)


def failed(rank=0, error="the store is away", **changes):
    return invocation(rank, error=error, **changes)


def without_results(invocations):
    return [dataclasses.replace(each, result=None) for each in invocations]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def kept(tmp_path):
    return tmp_path / BUCKET / PATH / "invocations.json"


class TestTheLedger:
    def test_a_rank_is_done_with_its_first_result_whatever_failed_before(self):
        ledger = Ledger()
        ledger.enter(failed(0))
        assert ledger.last_error(0) == "the store is away"
        ledger.enter(done(0, attempt=2))
        assert ledger.done == {0}
        assert ledger.last_error(0) is None
        assert len(ledger.invocations) == 2

    def test_the_last_of_several_errors_counts(self):
        ledger = Ledger()
        ledger.enter(failed(0, "first"))
        ledger.enter(failed(0, "second", attempt=2))
        assert ledger.last_error(0) == "second"
        assert ledger.failures() == "; rank 0: second"

    def test_a_rank_that_never_ran_has_a_reason_until_an_attempt_has_one(self):
        ledger = Ledger()
        ledger.never_ran([4, 5], "its task run crashed")
        ledger.enter(failed(5))
        assert ledger.last_error(4) == "its task run crashed"
        assert ledger.last_error(5) == "the store is away"
        assert ledger.last_error(6) is None
        assert ledger.failures() == "; rank 4: its task run crashed; rank 5: the store is away"

    def test_failures_are_reported_in_rank_order_and_five_at_most(self):
        ledger = Ledger()
        for rank in (9, 3, 7, 1, 5, 8):
            ledger.enter(failed(rank, "x"))
        ledger.enter(done(3, attempt=2))
        assert ledger.failures() == "; rank 1: x; rank 5: x; rank 7: x; rank 8: x; rank 9: x"
        assert Ledger().failures() == ""

    def test_threads_may_enter_side_by_side(self):
        ledger = Ledger()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(ledger.enter, map(done, range(500))))
        assert len(ledger.invocations) == 500
        assert ledger.done == set(range(500))


class TestWhatIsKept:
    def test_invocations_come_back_as_they_were_but_for_their_results(self, store, kept):
        made = [failed(0, retryable=False), done(1), done(0, attempt=2, init_s=0, cold=False)]
        assert keep_invocations(store, BUCKET, PATH, made, PRINTS, folder=PATH) == without_results(made)
        assert load_invocations(store, BUCKET, PATH) == without_results(made)
        assert '"result"' not in kept.read_text()

    def test_a_later_run_adds_to_what_is_kept(self, store):
        keep_invocations(store, BUCKET, PATH, [failed(0), done(1)], PRINTS, folder=PATH)
        both = keep_invocations(store, BUCKET, PATH, [done(0, attempt=2)], PRINTS, folder=PATH)
        assert [(each.rank, each.error) for each in both] == [(0, "the store is away"), (1, None), (0, None)]
        assert load_invocations(store, BUCKET, PATH) == both

    def test_a_retried_task_adds_what_it_has_added_only_once(self, store):
        made = [failed(0), done(1), done(0, attempt=2)]
        for _ in range(2):
            assert keep_invocations(store, BUCKET, PATH, made, PRINTS, folder=PATH) == without_results(made)

    def test_a_call_that_outlived_its_run_is_billed_once_by_its_record(self, store):
        stopped = {"error": "stopped: the run took longer", "billed_how": STILL_RUNNING, "attempt": RESULT.attempt}
        began = RESULT.started_at - 1
        early = invocation(0, **stopped, started_at=began - 60, ended_at=began - 30)
        copies = [invocation(0, **stopped, started_at=began + late, ended_at=began + 3) for late in (0, 2.5)]
        other = invocation(1, **stopped, started_at=began, ended_at=began + 3)
        keep_invocations(store, BUCKET, PATH, [early, *copies, other], PRINTS, folder=PATH)
        (record,) = of_records(RESULTS[:1], [early, *copies, other], 2048)
        assert keep_invocations(store, BUCKET, PATH, [record], PRINTS, folder=PATH) == [early, copies[1], other, record]

    def test_a_run_of_no_ranks_keeps_what_is_there(self, store):
        keep_invocations(store, BUCKET, PATH, [done(0)], PRINTS, folder=PATH)
        assert [each.rank for each in keep_invocations(store, BUCKET, PATH, [], PRINTS, folder=PATH)] == [0]

    def test_invocations_of_other_fingerprints_or_ranks_are_dropped(self, store):
        keep_invocations(store, BUCKET, PATH, [done(0), done(1)], PRINTS, folder=PATH)
        both = keep_invocations(store, BUCKET, PATH, [done(1)], {1: "changed"}, folder=PATH)
        assert [each.rank for each in both] == [1]
        assert load_invocations(store, BUCKET, PATH) == both

    def test_a_result_path_without_a_run_is_named(self, store, kept):
        with pytest.raises(BadInput, match=f"{BUCKET}/{PATH}"):
            load_invocations(store, BUCKET, PATH)
        keep_invocations(store, BUCKET, PATH, [], PRINTS, folder=PATH)
        with pytest.raises(BadInput, match=f"{BUCKET}/{PATH}"):
            load_invocations(store, BUCKET, PATH)
        assert kept.read_text() == "[]"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "null",
            "7",
            "{}",
            '{"a": 1}',
            '["x"]',
            "[null]",
            "[{}]",
            "[" * 20_000,
            b"\xff",
            '[{"invocation": {}}]',
        ],
    )
    def test_a_damaged_file_is_refused_by_name_and_left_as_it_is(self, store, kept, text):
        data = text if isinstance(text, bytes) else text.encode()
        store.write(BUCKET, f"{PATH}/invocations.json", data)
        for read in (
            lambda: load_invocations(store, BUCKET, PATH),
            lambda: keep_invocations(store, BUCKET, PATH, [done(0)], PRINTS, folder=PATH),
        ):
            with pytest.raises(BadInput, match=f"{BUCKET}/{PATH}/invocations.json .*: remove it") as raised:
                read()
            assert "\n" not in str(raised.value)
        assert kept.read_bytes() == data

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("rank", [0]),
            ("rank", "0"),
            ("rank", None),
            ("duration_s", "3"),
            ("billed_s", float("nan")),
            ("billed_s", float("inf")),
            ("memory_mb", {}),
            ("cold", "yes"),
            ("error", 7),
        ],
    )
    def test_a_field_of_another_kind_is_damage(self, store, kept, field, value):
        keep_invocations(store, BUCKET, PATH, [done(0)], PRINTS, folder=PATH)
        rows = json.loads(kept.read_text())
        rows[0]["invocation"][field] = value
        kept.write_text(json.dumps(rows))
        with pytest.raises(BadInput, match=r"invocations\.json is damaged"):
            load_invocations(store, BUCKET, PATH)

    def test_a_field_that_is_missing_is_damage(self, store, kept):
        keep_invocations(store, BUCKET, PATH, [done(0)], PRINTS, folder=PATH)
        rows = json.loads(kept.read_text())
        del rows[0]["invocation"]["billed_s"]
        kept.write_text(json.dumps(rows))
        with pytest.raises(BadInput, match=r"invocations\.json is damaged"):
            load_invocations(store, BUCKET, PATH)


class TestRanksThatOnlyTheirRecordsKnowOf:
    def test_they_are_billed_by_their_records_and_the_bill_says_so(self):
        found = of_records(RESULTS, [done(0), failed(1)], 2048)
        assert [each.rank for each in found] == [1, 2], "a failed try does not stand for the one that succeeded"
        for each in found:
            assert (each.duration_s, each.billed_s) == (RESULT.wall_total_s, RESULT.wall_total_s)
            assert "own record" in each.billed_how
            assert each.memory_mb == 2048
            assert each.max_memory_mb == pytest.approx(RESULT.peak_rss_mb * 1e6 / 2**20)
            assert each.error is None

    def test_the_memory_that_the_function_had_counts_before_the_requests(self):
        (each,) = of_records([dataclasses.replace(RESULT, memory_limit_mb=3008)], [], 2048)
        assert each.memory_mb == 3008

    def test_they_can_be_kept_like_any_other(self, store):
        found = of_records(RESULTS[:2], [], 2048)
        assert keep_invocations(store, BUCKET, PATH, found, PRINTS, folder=PATH) == found
        assert load_invocations(store, BUCKET, PATH) == found


class TestKeepKilled:
    def test_adds_to_those_of_earlier_runs_and_the_bill_says_so(self, tmp_path):
        store = Store(tmp_path)
        keep_killed(store, BUCKET, PATH, [], folder=PATH)
        assert load_killed(store, BUCKET, PATH) == []
        assert beyond_note([]) == ""
        keep_killed(store, BUCKET, PATH, [50.0], folder=PATH)
        keep_killed(store, BUCKET, PATH, [50.0, 7.0], folder=f"{PATH}/2")
        assert load_killed(store, BUCKET, f"{PATH}/2") == [7.0, 50.0]
        said = beyond_note([7.0, 50.0, 60.0, 70.0])
        assert said.startswith("4 runs were killed after 1970-01-01 00:00:07 and 1970-01-01 00:00:50 and ")
        assert "UTC and 1 more: calls that failed in their last 5 s" in said

    @pytest.mark.parametrize("text", ["{", '{"a": 1}', '["soon"]', "[1e400]", "[-1]"])
    def test_refuses_a_damaged_file_by_its_name(self, tmp_path, text):
        store = Store(tmp_path)
        store.write(BUCKET, f"{PATH}/killed.json", text.encode())
        with pytest.raises(BadInput, match=r"killed\.json.*remove it"):
            load_killed(store, BUCKET, PATH)

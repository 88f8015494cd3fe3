import dataclasses

import pytest

from tasks.invocations.clock_skew import correct_clock_skew
from tests.support.wire_examples import RESULT
from tests.tasks.invocations.test_stored import failed, invocation


def result(rank=0, started=100.0, lasted=2.0, attempt=1):
    return dataclasses.replace(RESULT, rank=rank, attempt=attempt, started_at=started, ended_at=started + lasted)


def call(rank=0, **changes):
    return invocation(rank, started_at=100.0, ended_at=103.0, **changes)


def test_clocks_that_are_nearly_right_are_left_alone():
    results = (result(0, 97.0), result(1, 106.0))
    assert correct_clock_skew(results, [call(0), call(1)]) == (results, [])


@pytest.mark.parametrize("skew", [-3600.0, -6.0, 9.0, 3600.0])
def test_a_rank_with_a_wrong_clock_moves_to_its_call(skew):
    (placed,), (note,) = correct_clock_skew([result(0, 100.5 + skew)], [call(0)])
    assert (placed.started_at, placed.ended_at) == (100.0, 102.0)
    assert "rank 0 is off by up to" in note


def test_a_clock_that_was_set_back_meanwhile_gives_no_negative_time():
    (placed,), _ = correct_clock_skew([result(0, 9000.0, lasted=-50.0)], [call(0)])
    assert placed.ended_at == placed.started_at


def test_an_earlier_attempts_result_is_compared_with_its_own_call():
    late = result(0, 100.5)
    calls = [failed(0, started_at=100.0, ended_at=1000.0), invocation(0, attempt=2, started_at=1001.0, ended_at=1002.0)]
    assert correct_clock_skew([late], calls) == ((late,), [])


def test_a_function_that_outlived_its_call_has_no_wrong_clock():
    slow = result(0, 100.5, lasted=300.0)
    assert correct_clock_skew([slow], [failed(0, started_at=100.0, ended_at=130.0)]) == ((slow,), [])


def test_of_calls_that_nobody_saw_nothing_is_said():
    results = (result(0, 9000.0),)
    assert correct_clock_skew(results, []) == (results, [])


def test_many_ranks_are_one_note():
    results = [result(rank, 3700.0 + rank) for rank in range(14)]
    _, (note,) = correct_clock_skew(results, [call(rank) for rank in range(14)])
    assert "ranks 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more" in note

import pytest
from prefect.states import Failed

from inference.errors import BadCheckpoint, BadInput, BadPartition, RankFailed, StoreError
from tasks.policy import GROUPS, MAX_TASK_RUNS, ranks_per_task, worth_retrying


@pytest.mark.parametrize("world_size", [1, 2, 130, MAX_TASK_RUNS])
def test_each_rank_has_a_task_run_of_its_own_while_they_can_be_shown(world_size):
    assert ranks_per_task(world_size) == 1


@pytest.mark.parametrize("world_size", [MAX_TASK_RUNS + 1, 1000, 10_240, 99_999])
def test_beyond_that_ranks_share_task_runs_of_equal_size(world_size):
    each = ranks_per_task(world_size)
    assert (each - 1) * GROUPS < world_size <= each * GROUPS


def test_what_was_asked_for_counts_but_never_beyond_the_ranks_there_are():
    assert ranks_per_task(1000, 7) == 7
    assert ranks_per_task(3, 7) == 3
    assert ranks_per_task(3, 1) == 1


@pytest.mark.parametrize("error", [BadInput("x"), BadCheckpoint("x"), BadPartition("x")])
def test_wrong_input_is_not_tried_again(error):
    assert not worth_retrying(None, None, Failed(data=error))


@pytest.mark.parametrize("error", [StoreError("x"), RankFailed("x"), ConnectionError("x")])
def test_what_may_pass_is_tried_again(error):
    assert worth_retrying(None, None, Failed(data=error))


def test_an_error_that_knows_whether_it_may_pass_is_believed():
    error = RankFailed("x")
    error.retryable = False
    assert not worth_retrying(None, None, Failed(data=error))

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.states import Failed

from inference.contract.tolerance import exceeded
from inference.errors import BadCheckpoint, BadInput, BadPartition, RankFailed, StoreError
from tasks.dispatch.grouping import GROUPS, MAX_TASK_RUNS, ranks_per_task
from tasks.dispatch.hedging import COPIES, LATE, backups, late_after
from tasks.prefect_support.step import worth_retrying
from tests.support.replay import replayed, stragglers


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


@given(st.lists(st.floats(0.1, 900.0), min_size=20, max_size=200))
def test_late_after_is_so_many_times_the_median_of_sorted_times(times):
    assert late_after(len(times), sorted(times)) == pytest.approx(LATE * statistics.median(times))


class TestBackups:
    def test_nobody_is_late_before_enough_ranks_are_done(self):
        assert backups(100, [1.0] * 94, dict.fromkeys(range(6), 50.0), 0) == {}
        assert backups(100, [1.0] * 95, dict.fromkeys(range(5), 50.0), 0) == dict.fromkeys(range(5), 2)

    def test_who_has_not_run_much_longer_than_the_median_is_not_late(self):
        assert backups(100, [10.0] * 97, {0: 13.9, 1: 14.1, 2: 3.0}, 0) == {1: 2}

    def test_backups_of_a_small_run_are_one_for_its_last_rank(self):
        assert backups(4, [1.0] * 3, {3: 100.0}, 0) == {}
        assert backups(8, [1.0] * 6, {6: 100.0, 7: 100.0}, 0) == {}
        assert backups(8, [1.0] * 7, {7: 100.0}, 0) == {7: 1}

    def test_scarce_backups_go_to_the_slowest_ranks_first(self):
        assert backups(100, [1.0] * 95, {0: 5.0, 1: 9.0, 2: 7.0}, 8) == {1: 1, 2: 1}
        assert backups(100, [1.0] * 95, {0: 5.0}, 10) == {}

    @given(
        ranks=st.integers(1, 2000),
        done=st.floats(0, 1),
        slow=st.lists(st.floats(0, 1e4), max_size=60),
        made=st.integers(0, 300),
    )
    def test_backups_never_exceed_a_tenth_of_the_ranks_nor_two_a_rank(self, ranks, done, slow, made):
        times = [1.0] * int(done * ranks)
        running = dict(enumerate(slow[: ranks - len(times)]))
        given_out = backups(ranks, times, running, made)
        assert all(1 <= copies <= COPIES and running[rank] > 1.4 for rank, copies in given_out.items())
        assert not given_out or made + sum(given_out.values()) <= max(1, ranks // 10)


class TestReplay:
    """The policy on runs of the published shape, played back without a clock; medians over seeds."""

    def test_backups_save_a_quarter_of_the_time_for_a_tenth_of_the_bill(self):
        shares = []
        for seed in range(15):
            times = stragglers(517, seed)
            makespan, billed, _ = replayed(times, seed)
            shares.append((makespan / max(times), billed / sum(times)))
        assert statistics.median(share for share, _ in shares) <= 0.75
        assert max(billed for _, billed in shares) <= 1.12
        assert statistics.median(billed for _, billed in shares) <= 1.10

    def test_a_run_without_stragglers_is_billed_no_more(self):
        for seed in range(5):
            times = stragglers(517, seed, share=0)
            assert replayed(times, seed)[1:] == (pytest.approx(sum(times)), 0)

    def test_without_backups_a_run_takes_as_long_as_its_slowest_rank(self):
        times = stragglers(100, 3)
        assert replayed(times, 3, hedge=False) == (max(times), pytest.approx(sum(times)), 0)


class TestToleratedFailures:
    def test_without_limits_any_number_is_tolerated(self):
        assert exceeded(10, 10, None, None) is None

    @pytest.mark.parametrize(("failed", "within"), [(0, True), (2, True), (3, False)])
    def test_more_than_the_count_is_too_many(self, failed, within):
        assert (exceeded(failed, 100, None, 2) is None) == within

    @pytest.mark.parametrize(("failed", "within"), [(5, True), (6, False)])
    def test_more_than_the_percentage_is_too_many(self, failed, within):
        assert (exceeded(failed, 200, 2.5, None) is None) == within

    def test_either_limit_suffices(self):
        assert "tolerated_failure_count" in exceeded(3, 100, 50, 2)
        assert "tolerated_failure_percentage" in exceeded(3, 100, 1, 50)

    def test_none_tolerated_means_none(self):
        assert exceeded(0, 100, 0, 0) is None
        assert exceeded(1, 100_000, 0, None) is not None

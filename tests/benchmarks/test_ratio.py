import dataclasses

import pytest

from benchmarks.ratio import Target, quartiles, worse

TIME = Target(
    what="read", ratio=1.05, low=1.0, high=1.1, to_reach=1.1, higher_is_better=False, ours="1.05 s", other="1 s"
)
RATE = dataclasses.replace(TIME, what="inference", ratio=2.4, low=2.3, high=2.5, to_reach=2.3, higher_is_better=True)


def moved(target, by):
    return dataclasses.replace(target, ratio=target.ratio + by, low=target.low + by, high=target.high + by)


@pytest.mark.parametrize(("target", "reached"), [(TIME, True), (moved(TIME, 0.1), False), (moved(RATE, -0.2), False)])
def test_a_goal_is_reached_on_its_own_side(target, reached):
    assert target.reached is reached


def test_a_ratio_that_is_worse_by_more_than_the_noise_of_both_is_reported():
    now = [moved(TIME, 0.15), moved(RATE, -0.3)]
    read, inference = worse([TIME, RATE], now)
    assert "read: 1.2 (1.15 to 1.25) against 1.05 (1 to 1.1)" in read
    assert "inference: 2.1 (2 to 2.2) against 2.4" in inference


def test_what_lies_within_the_noise_is_not_reported():
    assert worse([TIME, RATE], [moved(TIME, 0.09), moved(RATE, -0.19)]) == []


def test_the_last_digits_of_what_hardly_varies_are_not_reported():
    still = dataclasses.replace(TIME, low=1.05, high=1.05)
    assert worse([still], [moved(still, 0.001)]) == []
    assert worse([still], [moved(still, 0.002)]) != []


def test_what_has_become_better_is_not_reported():
    assert worse([TIME, RATE], [moved(TIME, -1.0), moved(RATE, 1.0)]) == []


def test_a_ratio_that_is_new_or_gone_is_no_regression():
    assert worse([TIME], [RATE]) == worse([], [TIME]) == worse([TIME], []) == []


def test_noise_is_the_quartiles_of_the_turns():
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == {"ratio": 3.0, "low": 2.0, "high": 4.0}

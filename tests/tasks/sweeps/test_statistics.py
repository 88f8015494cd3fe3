import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sweeps.statistics import mean_interval, ratio_interval, student_t, without_outliers

positive = st.floats(1e-3, 1e6)


def test_a_value_beyond_one_and_a_half_interquartile_ranges_is_an_outlier():
    assert list(without_outliers([10, 12, 14, 16, 18, 25, 26])) == [10, 12, 14, 16, 18, 25, 26]
    assert list(without_outliers([10, 12, 14, 16, 18, 20, 40])) == [10, 12, 14, 16, 18, 20]
    assert list(without_outliers([])) == []


@given(st.lists(positive, max_size=40))
def test_what_is_kept_keeps_its_order_and_lies_within_the_fences(values):
    kept = without_outliers(values)
    rest = iter(values)
    assert all(value in rest for value in kept)
    if values:
        first, third = np.percentile(values, (25, 75))
        assert all(first - 1.5 * (third - first) <= value <= third + 1.5 * (third - first) for value in kept)


def test_the_interval_is_students():
    mean = mean_interval([10.0, 12.0, 14.0])
    half = 4.302653 * 2.0 / math.sqrt(3)
    assert (mean.mean, mean.low, mean.high) == pytest.approx((12.0, 12.0 - half, 12.0 + half))


def test_a_single_value_has_no_interval():
    mean = mean_interval([3.0])
    assert (mean.mean, mean.low, mean.high, mean.count) == (3.0, None, None, 1)
    assert ratio_interval([3.0], [1.0, 2.0]).low is None
    assert not ratio_interval([3.0], [300.0]).exceeds_noise


def test_no_values_have_no_mean_and_nothing_has_no_ratio():
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
    for pair in (([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0])):
        with pytest.raises(ValueError, match="positive"):
            ratio_interval(*pair)


@pytest.mark.parametrize(
    ("freedom", "t"),
    [(1, 12.706), (1.5, 6.017), (2.9, 3.2454), (10, 2.228), (30, 2.042), (31, 2.0395), (60, 2.0003), (1e9, 1.95996)],
)
def test_the_quantiles_are_those_of_the_tables(freedom, t):
    assert student_t(freedom) == pytest.approx(t, abs=6e-4)


def test_intervals_hold_the_truth_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(1)
    hits = sum(
        mean.low <= 5 <= mean.high for mean in (mean_interval(rng.normal(5, 2, 4).tolist()) for _ in range(2000))
    )
    assert 0.935 < hits / 2000 < 0.965
    pairs = ((np.exp(rng.normal(0, 0.1, 5)), 2 * np.exp(rng.normal(0, 0.3, 4))) for _ in range(2000))
    ratios = [ratio_interval(a.tolist(), b.tolist()) for a, b in pairs]
    assert 0.93 < sum(ratio.low <= 2 <= ratio.high for ratio in ratios) / 2000 < 0.98
    same = ((rng.normal(10, 1, 5), rng.normal(10, 1, 5)) for _ in range(2000))
    assert sum(ratio_interval(a.tolist(), b.tolist()).exceeds_noise for a, b in same) / 2000 < 0.07


@given(st.lists(positive, min_size=2, max_size=8), st.lists(positive, min_size=2, max_size=8))
def test_turned_round_a_ratio_is_its_inverse(one, other):
    there, back = ratio_interval(one, other), ratio_interval(other, one)
    assert there.ratio * back.ratio == pytest.approx(1)
    assert there.exceeds_noise == back.exceeds_noise


def test_a_ratio_of_values_worlds_apart_has_an_interval_without_overflow():
    ratio = ratio_interval([1e-30, 1e30], [1e-30, 1e30])
    assert ratio.low < 1e-9 < ratio.ratio < 1e9 < ratio.high < float("inf")

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from tasks.photoz.monotone import MonotoneCubic


def rising(rng):
    return np.cumsum(rng.exponential(size=13))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "values",
    [rising, lambda rng: rng.normal(size=13), lambda rng: rng.integers(0, 2, 13).astype(float), lambda _: np.zeros(13)],
    ids=["rising", "turning", "flat here and there", "flat"],
)
def test_values_and_slopes_are_those_of_scipy(values, seed):
    rng = np.random.default_rng(seed)
    x = rising(rng)
    y = values(rng)
    points = np.concatenate([x, rng.uniform(x[0], x[-1], 200)])
    ours, theirs = MonotoneCubic(x, y), PchipInterpolator(x, y)
    assert ours(points) == pytest.approx(theirs(points), abs=1e-12)
    # At a knot both slopes are the same from either side.
    assert ours.slope(points) == pytest.approx(theirs.derivative()(points), abs=1e-10)


def test_outside_its_points_the_slope_is_nought():
    cubic = MonotoneCubic(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 3.0]))
    assert cubic.slope(np.array([-0.1, 3.1])).tolist() == [0.0, 0.0]


def test_three_points_are_enough_and_nothing_overshoots():
    x, y = np.array([0.0, 1.0, 1.1]), np.array([0.0, 0.01, 1.0])
    ours = MonotoneCubic(x, y)(np.linspace(0.0, 1.1, 100))
    assert ours == pytest.approx(PchipInterpolator(x, y)(np.linspace(0.0, 1.1, 100)), abs=1e-12)
    assert np.all(np.diff(ours) >= 0)

"""Models that give an uncertainty of their own: calibrated, it keeps its widths, and holds."""

import json

import numpy as np
import pytest
from scipy import stats

from inference.errors import BadInput
from tasks.photoz.bins import deciles
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.conformal import calibrate
from tasks.photoz.scores import score
from tasks.photoz.spread import own_spread, usable

SHA = "cd" * 32


def galaxies(count, seed=0, sides=(1.0, 1.0), overconfident=2.0):
    """Redshifts whose scatter differs fivefold for no reason that redshift or magnitude knows, and own widths of it."""
    rng = np.random.default_rng(seed)
    z_pred, mag_r = rng.uniform(0.05, 0.4, count), rng.uniform(16, 20, count)
    scatter = rng.uniform(0.005, 0.025, count)
    away = rng.normal(size=count)
    z_spec = z_pred + scatter * away * np.where(away < 0, *sides)
    own = scatter[:, None] * np.array(sides) / overconfident
    return z_pred, z_spec, mag_r, own


@pytest.fixture(scope="module", params=[(1.0, 1.0), (1.0, 3.0)], ids=["sigma", "quantiles"])
def calibrated(request):
    z_pred, z_spec, mag_r, own = galaxies(12_000, sides=request.param)
    return request.param, calibrate(z_pred, z_spec, mag_r, SHA, {}, spread=own)


def test_calibration_by_own_widths_covers_in_their_deciles(calibrated):
    sides, calibration = calibrated
    assert calibration.own
    z_pred, z_spec, mag_r, own = galaxies(12_000, seed=1, sides=sides)
    ends = calibration.bounds(z_pred, mag_r, own)
    for level, promised in (("68", 0.6827), ("95", 0.95)):
        inside = (z_spec >= ends[f"z_err{level}_low"]) & (z_spec <= ends[f"z_err{level}_high"])
        for quantity in (own[:, 0], mag_r, z_pred):
            assert [inside[part].mean() for part in deciles(quantity)] == pytest.approx([promised] * 10, abs=0.045)


def test_calibration_by_own_widths_beats_one_without(calibrated):
    sides, calibration = calibrated
    z_pred, z_spec, mag_r, own = galaxies(4000, seed=2, sides=sides)
    plain = calibrate(*galaxies(12_000, sides=sides)[:3], SHA, {})
    assert score(calibration, z_pred, z_spec, mag_r, own).crps.mean() < score(plain, z_pred, z_spec, mag_r).crps.mean()


def test_calibration_leaves_own_widths_that_mean_nothing():
    z_pred, z_spec, mag_r, own = galaxies(12_000)
    shuffled = own[np.random.default_rng(9).permutation(len(own))]
    assert not calibrate(z_pred, z_spec, mag_r, SHA, {}, spread=shuffled).own
    lacking = np.where(np.arange(len(own))[:, None] % 3 > 0, np.nan, own)
    assert not calibrate(z_pred, z_spec, mag_r, SHA, {}, spread=lacking).own


def test_density_of_own_widths_fits_its_quantiles_mean_and_mode(calibrated):
    sides, calibration = calibrated
    z_pred, _, mag_r, own = (values[:50] for values in galaxies(50, seed=3, sides=sides))
    grid = np.linspace(-0.5, 1, 60_001)
    density = calibration.pdf(z_pred, mag_r, grid, own)
    known = np.isfinite(density).all(axis=1)
    assert known.sum() > 40
    points = calibration.point_estimates(z_pred, mag_r, own)
    levels, places = calibration.fine_quantiles(z_pred, mag_r, own)
    for row in np.flatnonzero(known):
        cumulative = np.cumsum(density[row]) * (grid[1] - grid[0])
        assert cumulative[-1] == pytest.approx(1, abs=0.02)
        assert np.interp(places[row, 4:-4], grid, cumulative) == pytest.approx(levels[4:-4], abs=0.02)
        assert points["mean"][row] == pytest.approx((density[row] * grid).sum() / density[row].sum(), abs=2e-4)
        assert np.interp(points["mode"][row], grid, density[row]) == pytest.approx(density[row].max(), rel=0.02)
        assert np.interp(points["median"][row], grid, cumulative) == pytest.approx(0.5, abs=0.01)


def test_score_of_two_widths_is_that_of_the_split_normal():
    calibration, low, high = Calibration.normal(SHA), 0.01, 0.03
    z_spec = np.array([0.175, 0.2, 0.23])
    found = score(calibration, np.full(3, 0.2), z_spec, np.full(3, 18.0), np.tile([low, high], (3, 1)))
    grid = np.linspace(0, 0.5, 200_001)
    unit = (grid - 0.2) / np.where(grid < 0.2, low, high)
    cdf, density = stats.norm.cdf(unit), stats.norm.pdf(unit) / np.where(grid < 0.2, low, high)
    crps = [np.trapezoid((cdf - (grid >= each)) ** 2, grid) for each in z_spec]
    cde = [np.trapezoid(density**2, grid) - 2 * np.interp(each, grid, density) for each in z_spec]
    assert found.crps == pytest.approx(crps, rel=0.05)
    assert found.cde[[0, 2]] == pytest.approx(np.array(cde)[[0, 2]], rel=0.15)
    assert found.pit == pytest.approx(np.interp(z_spec, grid, cdf), abs=0.01)


def test_uncalibrated_stand_in_gives_one_and_two_sigma():
    ends = Calibration.normal(SHA).bounds(np.full(3, 0.2), np.full(3, 18.0), own_spread({"z_err": [0.01, 0.0, np.nan]}))
    assert ends["z_err68_low"][0] == pytest.approx(0.19) and ends["z_err68_high"][0] == pytest.approx(0.21)
    assert ends["z_err95_high"][0] == pytest.approx(0.2196, abs=1e-4)
    assert np.isnan([values[1:] for values in ends.values()]).all()


def test_own_spread_prefers_quantiles_and_marks_those_that_cross():
    columns = {"z_pred": [0.2, 0.2], "z_err": [0.5, 0.5], "z_q16": [0.19, 0.21], "z_q84": [0.23, 0.23]}
    assert own_spread(columns) == pytest.approx(np.array([[0.01, 0.03], [-0.01, 0.03]]))
    assert usable(own_spread(columns)).tolist() == [True, False]
    assert own_spread({"z_pred": [0.2]}) is None


def test_calibration_by_own_widths_is_kept_in_its_file(calibrated):
    _, calibration = calibrated
    again = Calibration.read(calibration.to_json(), "c.json", SHA)
    assert again.own and again.sha256 == calibration.sha256
    assert json.loads(calibration.to_json())["format"] == 3, "an older version must not take it for one of its own"
    with pytest.raises(BadInput, match="in units of the model's own uncertainty, and these galaxies have none"):
        again.bounds(np.full(1, 0.2), np.full(1, 18.0))
    assert set(again.bounds(np.full(1, 0.2), np.full(1, 18.0), np.full((1, 2), 0.01))) == set(BOUNDS)

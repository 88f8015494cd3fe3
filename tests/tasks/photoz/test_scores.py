import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.photoz.calibration import Calibration
from tasks.photoz.conformal import calibrate
from tasks.photoz.distribution import LEVELS
from tasks.photoz.scores import coverage_in_bins, coverage_table, covered, has_intervals, interval_scores, score
from tests.tasks.photoz.test_calibration import galaxies


def gaussian(sigma):
    """A calibration whose residuals are Gaussian, in one bin."""
    levels = np.clip(LEVELS, 1e-6, 1 - 1e-6)
    quantiles = stats.norm.ppf(levels, scale=sigma).reshape(1, 1, -1)
    return Calibration("ab" * 32, np.array([-1.0, 9.0]), np.array([[10.0, 30.0]]), quantiles, np.array([[1]]), {})


def drawn(count, sigma, seed=0):
    rng = np.random.default_rng(seed)
    return np.zeros(count), rng.normal(0, sigma, count), np.full(count, 18.0)


def table(calibration, z_pred, z_spec, mag_r):
    columns = {"z_pred": z_pred, "z_spec": z_spec, "mag_r": mag_r}
    return pd.DataFrame(columns | calibration.bounds(z_pred, mag_r))


def test_crps_and_cde_loss_are_those_of_a_gaussian():
    sigma, z_spec = 0.02, np.array([0.0001, 0.013, -0.031])
    found = score(gaussian(sigma), np.zeros(3), z_spec, np.full(3, 18.0))
    z = z_spec / sigma
    closed = sigma * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(found.crps, closed, rtol=0.03)
    np.testing.assert_allclose(found.pit, stats.norm.cdf(z), atol=0.02)
    cde = 1 / (2 * sigma * np.sqrt(np.pi)) - 2 * stats.norm.pdf(z_spec, scale=sigma)
    np.testing.assert_allclose(found.cde, cde, atol=3)


def test_crps_far_outside_p_of_z_grows_with_the_distance():
    found = score(gaussian(0.01), np.zeros(2), np.array([1.0, 2.0]), np.full(2, 18.0))
    assert np.diff(found.crps) == pytest.approx(1.0, abs=1e-6)
    assert (found.pit == 1).all()


@pytest.mark.parametrize(("sigma", "better"), [(0.02, True), (0.01, False), (0.05, False)])
def test_scores_prefer_the_right_width(sigma, better):
    z_pred, z_spec, mag_r = drawn(4000, 0.02)
    found = interval_scores(table(gaussian(sigma), z_pred, z_spec, mag_r), gaussian(sigma))
    assert (abs(found["coverage_68"] - 0.6827) < 0.03) is better
    assert (found["pit_ks"] < 0.04) is better
    right = interval_scores(table(gaussian(0.02), z_pred, z_spec, mag_r), gaussian(0.02))
    assert right["crps"] <= found["crps"]
    assert right["cde_loss"] <= found["cde_loss"]


def test_conditional_intervals_score_better_than_a_global_one():
    made, held = galaxies(20_000), galaxies(10_000, seed=1)
    fine = calibrate(*made, "ab" * 32, {})
    coarse = calibrate(*(values[:400] for values in made), "ab" * 32, {})
    assert coarse.made["bins"] == [1, 1]
    assert score(fine, *held).crps.mean() < score(coarse, *held).crps.mean()


def test_scores_leave_out_galaxies_without_redshift_or_interval():
    z_pred, z_spec, mag_r = drawn(100, 0.02)
    z_spec[:10], mag_r[10:20] = np.nan, 99.0
    rows = table(gaussian(0.02), z_pred, z_spec, mag_r)
    found = score(gaussian(0.02), z_pred, z_spec, mag_r)
    assert found.rows.tolist() == list(range(20, 100))
    assert np.isnan(covered(rows)["68"]).sum() == 20
    assert interval_scores(rows)["with_interval"] == 80


def test_a_table_without_intervals_or_redshifts_has_no_scores():
    rows = table(gaussian(0.02), *drawn(5, 0.02))
    assert has_intervals(rows)
    assert not has_intervals(rows.drop(columns="z_err68_low"))
    assert not has_intervals(rows.assign(z_spec=np.nan))


def test_coverage_in_bins_counts_every_galaxy_once():
    z_pred, z_spec, mag_r = galaxies(5000)
    rows = table(calibrate(z_pred, z_spec, mag_r, "ab" * 32, {}), z_pred, z_spec, mag_r)
    bins = coverage_in_bins(mag_r.astype(float), rows, 8)
    assert sum(row["samples"] for row in bins) == np.isfinite(rows["z_err68_low"]).sum()
    assert all(0.5 < row["coverage_68"] < 0.85 for row in bins)


def test_coverage_table_tells_the_ends_of_a_narrow_bin_apart():
    row = {"samples": 32, "coverage_68": 0.7, "coverage_95": 0.97, "width_68": 0.03, "width_95": 0.08}
    table = coverage_table("coverage", "r magnitude", [row | {"low": 20.01, "high": 20.04}])
    assert table.rows[0]["range"] == "20.01 to 20.04"

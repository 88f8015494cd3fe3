import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.photoz.bins import deciles
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.conformal import FEWEST, SHAPES, calibrate
from tasks.photoz.distribution import LEVELS

SHA = "ab" * 32


def galaxies(count, seed=0):
    """Redshifts whose scatter grows with magnitude and whose bias grows with redshift."""
    rng = np.random.default_rng(seed)
    mag_r = rng.uniform(16, 20, count)
    z_spec = rng.gamma(4.0, 0.05, count) + 0.01
    scatter = 0.004 + 0.01 * (mag_r - 16) ** 2 / 16
    z_pred = z_spec + (1 + z_spec) * scatter * rng.standard_t(5, count) - 0.05 * (z_spec - 0.2)
    return z_pred.astype(np.float32), z_spec, mag_r.astype(np.float32)


@pytest.fixture(scope="module")
def calibration():
    return calibrate(*galaxies(20_000), SHA, {"run_id": "r"})


def coverage(calibration, z_pred, z_spec, mag_r, level, chosen=slice(None)):
    ends = calibration.bounds(z_pred, mag_r)
    low, high = ends[f"z_err{level}_low"][chosen], ends[f"z_err{level}_high"][chosen]
    return np.mean((z_spec[chosen] >= low) & (z_spec[chosen] <= high))


@pytest.mark.parametrize(("level", "promised"), [("68", 0.6827), ("95", 0.95)])
def test_intervals_cover_what_they_promise_in_every_decile(calibration, level, promised):
    z_pred, z_spec, mag_r = galaxies(20_000, seed=1)
    assert coverage(calibration, z_pred, z_spec, mag_r, level) == pytest.approx(promised, abs=0.015)
    for quantity in (z_pred, mag_r):
        for chosen in deciles(quantity):
            assert coverage(calibration, z_pred, z_spec, mag_r, level, chosen) == pytest.approx(promised, abs=0.04)


def test_one_global_interval_would_miss_that(calibration):
    assert calibration.made["bins"] != [1, 1]
    scores = calibration.made["coverage_deviation"]
    assert scores["1 x 1"] > 3 * min(scores.values())


def test_intervals_are_absolute_nested_and_grow_with_magnitude(calibration):
    ends = calibration.bounds(np.full(2, 0.2), np.array([16.5, 19.8]))
    assert (ends["z_err95_low"] < ends["z_err68_low"]).all()
    assert (ends["z_err68_high"] < ends["z_err95_high"]).all()
    width = ends["z_err68_high"] - ends["z_err68_low"]
    assert 0.1 < ends["z_err68_low"][0] < ends["z_err68_high"][0] < 0.3
    assert width[1] > 2 * width[0]


@pytest.mark.parametrize(("z_pred", "mag_r"), [(9.0, 18.0), (-0.5, 18.0), (0.2, 25.0), (0.2, -9999.0), (0.2, np.nan)])
def test_galaxies_outside_the_calibrated_range_have_no_interval(calibration, z_pred, mag_r):
    ends = calibration.bounds(np.array([z_pred]), np.array([mag_r]))
    assert all(np.isnan(values).all() for values in ends.values())
    assert np.isnan(calibration.pdf(np.array([z_pred]), np.array([mag_r]), np.linspace(0, 1, 11))).all()


def test_density_is_positive_and_integrates_to_one(calibration):
    z_pred, _, mag_r = galaxies(300, seed=2)
    grid = np.linspace(-1, 3, 40_001)
    density = calibration.pdf(z_pred, mag_r, grid)
    inside = calibration.bins(z_pred, mag_r) >= 0
    assert (density[inside] >= 0).all()
    np.testing.assert_allclose(np.trapezoid(density[inside], grid), 1, atol=0.03)


def test_few_galaxies_get_coarser_bins_and_the_calibration_says_so():
    found = calibrate(*galaxies(4 * FEWEST), SHA, {})
    assert found.made["bins"] in ([1, 1], [4, 1])
    assert found.made["too_few_galaxies_for"] == [f"{z} x {m}" for z, m in SHAPES if z * m > 4]


def test_too_few_galaxies_are_refused():
    z_pred, z_spec, mag_r = galaxies(FEWEST + 5)
    z_spec[:10] = -9999.0
    with pytest.raises(BadInput, match=rf"^{FEWEST - 5} galaxies with a known redshift .* {FEWEST} are needed$"):
        calibrate(z_pred, z_spec, mag_r, SHA, {})


def test_unmeasured_values_are_left_out_and_counted():
    z_pred, z_spec, mag_r = galaxies(1000)
    z_spec[:3], mag_r[5:9] = np.nan, 99.0
    assert calibrate(z_pred, z_spec, mag_r, SHA, {}).made["left_out"] == 7


def test_galaxies_that_are_all_alike_are_calibrated():
    found = calibrate(np.full(1000, 0.2), np.full(1000, 0.2), np.full(1000, 18.0), SHA, {})
    ends = found.bounds(np.array([0.2]), np.array([18.0]))
    assert ends["z_err68_low"] == pytest.approx(0.2, abs=1e-6)


def test_file_gives_back_the_same_calibration(calibration):
    again = Calibration.read(calibration.to_json(), "c.json", SHA)
    assert again.to_json() == calibration.to_json()
    assert again.sha256 == calibration.sha256
    z_pred, _, mag_r = galaxies(100, seed=3)
    for name in BOUNDS:
        np.testing.assert_allclose(again.bounds(z_pred, mag_r)[name], calibration.bounds(z_pred, mag_r)[name])


def test_calibration_of_another_model_is_refused(calibration):
    with pytest.raises(BadInput, match=r"^c\.json was made for another model \(SHA-256 'abababababab"):
        Calibration.read(calibration.to_json(), "c.json", "cd" * 32)


DAMAGE = {
    "not JSON": lambda document: b"{",
    "a list": lambda document: b"[]",
    "nested": lambda document: b"[" * 100_000,
    "no quantiles": lambda document: json.dumps({k: v for k, v in document.items() if k != "quantiles"}).encode(),
    "another version": lambda document: json.dumps(document | {"format": 2}).encode(),
    "a version of versions": lambda document: json.dumps(document | {"format": [1]}).encode(),
    "other levels": lambda document: json.dumps(document | {"levels": LEVELS[1:].tolist()}).encode(),
    "descending edges": lambda document: json.dumps(document | {"z_edges": document["z_edges"][::-1]}).encode(),
    "a bin too few": lambda document: json.dumps(document | {"galaxies": document["galaxies"][1:]}).encode(),
    "NaN": lambda document: json.dumps(document | {"z_edges": [float("nan")] * len(document["z_edges"])}).encode(),
    "beyond all numbers": lambda document: json.dumps(document | {"z_edges": [-1e308, 1e308]}).encode(),
    "fewer galaxies than none": lambda document: json.dumps(
        document | {"galaxies": [[-1] * len(row) for row in document["galaxies"]]}
    ).encode(),
    "ragged": lambda document: json.dumps(document | {"mag_edges": [[1, 2], [1]]}).encode(),
    "text": lambda document: json.dumps(document | {"quantiles": "x"}).encode(),
    "no facts": lambda document: json.dumps(document | {"made": 3}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_calibration_is_refused_in_one_sentence_by_name(calibration, damage):
    with pytest.raises(BadInput, match=r"^c\.json ") as raised:
        Calibration.read(DAMAGE[damage](json.loads(calibration.to_json())), "c.json")
    assert "\n" not in str(raised.value)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5, width=32), min_size=FEWEST, max_size=FEWEST + 20))
def test_any_residuals_give_a_readable_calibration(residuals):
    z_pred = np.full(len(residuals), 0.3)
    found = calibrate(
        z_pred, np.clip(z_pred + np.array(residuals), 0.001, None), np.full(len(residuals), 18.0), SHA, {}
    )
    assert Calibration.read(found.to_json(), "c.json", SHA).sha256 == found.sha256

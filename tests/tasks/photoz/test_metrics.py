import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference.errors import BadInput
from tasks.photoz.metrics import photoz_metrics

REDSHIFTS = st.integers(1, 40).flatmap(
    lambda count: st.tuples(
        arrays(np.float64, count, elements=st.floats(-0.5, 5)),
        arrays(np.float64, count, elements=st.floats(0.001, 5)),
    )
)


def test_an_example_worked_by_hand():
    spec = np.array([1e-12, 1.0, 3.0, 1e-12])  # exactly 0 would mean unknown
    pred = np.array([0.1, 1.0, 3.4, 0.2])
    # error 0.1 0 0.4 0.2; delta 0.1 0 0.1 0.2, median 0.1, deviations from it 0 0.1 0 0.1
    metrics = photoz_metrics(pred, spec)
    assert metrics == pytest.approx(
        {
            "mae": 0.7 / 4,
            "mse": 0.21 / 4,
            "bias": 0.1,
            "nmad": 1.48 * 0.05,
            "nmad_14826": 1.4826 * 0.05,
            "sigma68": 0.1,  # half of 0.2 - 0: the second galaxy of four is beyond the lowest 15.87 %
            "precision": 1.48 * 0.1,
            "r2": 1 - 0.21 / 6,
            "outlier_fraction": 1 / 4,
            "outlier_fraction_005": 3 / 4,
            "bias_median": 0.1,
            "sigma_iqr": 0.05 / 1.349,  # quartiles 0.075 and 0.125
            "outlier_fraction_rail": 1 / 4,  # beyond 0.111
            "samples": 4,
            "unknown": 0,
            "unpredicted": 0,
        }
    )


def test_outliers_begin_just_above_their_limits():
    delta = np.array([0.0499, 0.0501, -0.0501, 0.1499, 0.1501, -0.1501])
    metrics = photoz_metrics(delta, np.full(6, 1e-12))
    assert (metrics["outlier_fraction"], metrics["outlier_fraction_005"]) == (2 / 6, 5 / 6)


def test_sigma_68_is_the_standard_deviation_of_a_gaussian():
    evenly = (np.arange(100_000) + 0.5) / 100_000
    assert photoz_metrics(evenly, np.full(100_000, 1e-12))["sigma68"] == pytest.approx(0.682689 / 2, abs=2e-5)


@given(REDSHIFTS)
def test_perfect_predictions_have_no_error(redshifts):
    _, spec = redshifts
    metrics = photoz_metrics(spec, spec)
    assert metrics["r2"] in {1.0, None}
    assert not any(metrics[name] for name in ("mae", "mse", "bias", "nmad", "precision", "outlier_fraction"))


@given(REDSHIFTS)
def test_predicting_the_mean_has_an_r2_of_nothing(redshifts):
    _, spec = redshifts
    assume(np.ptp(spec) > 1e-3)
    assert photoz_metrics(np.full_like(spec, spec.mean()), spec)["r2"] == pytest.approx(0, abs=1e-9)


def test_equal_redshifts_have_no_r2():
    assert photoz_metrics(np.array([0.1, 0.2]), np.array([0.3, 0.3]))["r2"] is None


@given(REDSHIFTS)
def test_fractions_lie_between_none_and_all_and_the_stricter_one_is_larger(redshifts):
    metrics = photoz_metrics(*redshifts)
    assert 0 <= metrics["outlier_fraction"] <= metrics["outlier_fraction_005"] <= 1


@given(REDSHIFTS, st.randoms())
def test_the_order_of_galaxies_does_not_matter(redshifts, random):
    pred, spec = redshifts
    order = random.sample(range(len(pred)), len(pred))
    assert photoz_metrics(pred[order], spec[order]) == pytest.approx(photoz_metrics(pred, spec))


@given(REDSHIFTS)
def test_counting_every_galaxy_twice_changes_nothing(redshifts):
    pred, spec = redshifts
    once, twice = photoz_metrics(pred, spec), photoz_metrics(np.tile(pred, 2), np.tile(spec, 2))
    assert twice.pop("samples") == 2 * once.pop("samples")
    for name in ("sigma_iqr", "outlier_fraction_rail"):  # RAIL interpolates quartiles between galaxies
        once.pop(name), twice.pop(name)
    assert twice == pytest.approx(once)


@given(REDSHIFTS, st.floats(0, 0.3))  # a shift below -1 would be no prediction
def test_a_shift_of_all_deltas_moves_the_bias_and_not_the_scatter(redshifts, shift):
    pred, spec = redshifts
    before, after = photoz_metrics(pred, spec), photoz_metrics(pred + shift * (1 + spec), spec)
    assert after["bias"] == pytest.approx(before["bias"] + shift, abs=1e-9)
    assert after["nmad"] == pytest.approx(before["nmad"], abs=1e-9)
    assert after["sigma68"] == pytest.approx(before["sigma68"], abs=1e-9)


@given(REDSHIFTS)
def test_mean_errors_relate_as_means_do(redshifts):
    metrics = photoz_metrics(*redshifts)
    assert metrics["mae"] ** 2 <= metrics["mse"] * (1 + 1e-9) + 1e-300
    assert metrics["r2"] is None or metrics["r2"] <= 1


def test_the_scatter_of_gaussian_errors_is_their_sigma():
    random = np.random.default_rng(0)
    spec = random.uniform(0, 1, 200_000)
    pred = spec + random.normal(0, 0.01, spec.size) * (1 + spec)
    metrics = photoz_metrics(pred, spec)
    for name in ("nmad", "nmad_14826", "sigma68", "precision"):
        assert metrics[name] == pytest.approx(0.01, rel=0.01)
    assert metrics["nmad_14826"] / metrics["nmad"] == pytest.approx(1.4826 / 1.48)


@pytest.mark.parametrize("unknown", [np.nan, np.inf, -np.inf, -9999.0, -99.0, -1.0, 0.0, 9.99, 9.9999, 99.0, 1208.7])
def test_unknown_redshifts_are_left_out_and_counted(unknown):
    pred, spec = np.array([0.1, 0.2, 0.35]), np.array([0.1, 0.25, 0.3])
    known = photoz_metrics(pred, spec)
    with_unknown = photoz_metrics(np.append(pred, [0.9, 0.9]), np.append(spec, [unknown, unknown]))
    assert with_unknown == known | {"unknown": 2}


@pytest.mark.parametrize("missing", [np.nan, np.inf, -9999.0, -99.0, -1.0, 9.9999, 99.0, 1208.7])
def test_missing_predictions_are_left_out_and_counted(missing):
    pred, spec = np.array([0.1, 0.2, 0.35]), np.array([0.1, 0.25, 0.3])
    left_out = photoz_metrics(np.append(pred, [missing] * 3), np.append(spec, [0.2, 0.2, np.nan]))
    assert left_out == photoz_metrics(pred, spec) | {"unknown": 1, "unpredicted": 2}


def test_a_prediction_of_exactly_zero_is_compared():
    assert photoz_metrics(np.array([0.0, 0.2]), np.array([0.1, 0.25]))["samples"] == 2


@pytest.mark.parametrize("spec", [[], [np.nan, np.nan]])
def test_without_known_redshifts_there_are_no_metrics(spec):
    assert photoz_metrics(np.zeros(len(spec)), np.array(spec)) is None


def test_columns_compare_as_rows_do():
    pred, spec = np.array([0.1, 0.2]), np.array([0.1, 0.3])
    assert photoz_metrics(pred[:, None], spec) == photoz_metrics(pred, spec[:, None])
    assert photoz_metrics(pred[:, None], spec) == photoz_metrics(pred, spec)


def test_single_precision_is_summed_in_double():
    spec = np.full(3_000_000, 0.1, np.float32)
    metrics = photoz_metrics(spec + np.float32(0.1), spec)
    assert metrics["mae"] == pytest.approx(0.1, rel=1e-6)


def test_metrics_can_be_written_as_json():
    metrics = photoz_metrics(np.array([0.1], np.float32), np.array([0.1], np.float32))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(BadInput, match="2 predictions cannot be compared with 3"):
        photoz_metrics(np.zeros(2), np.zeros(3))


def test_rails_definitions_stand_beside_ours():
    z_spec = np.full(9, 1.0)
    delta = np.array([-0.5, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03, 0.05, 0.07])
    found = photoz_metrics(z_spec + 2 * delta, z_spec)
    assert found["bias_median"] == pytest.approx(0.01)
    assert found["sigma_iqr"] == pytest.approx((0.03 - -0.01) / 1.349)
    assert found["outlier_fraction_rail"] == pytest.approx(1 / 9), "0.07 is below 3 sigma_IQR, 0.089"

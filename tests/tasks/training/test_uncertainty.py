import numpy as np
import pytest

from tasks.photoz.metrics import photoz_metrics
from tasks.training.loop import HeldOut, Trained
from tasks.training.recipe import SDSS
from tasks.training.uncertainty import interval_quality, uncertainty_text, validation_calibration
from tests.support.models import TINY, random_model


def held_out(count, seed):
    """Galaxies whose redshifts are the further off the fainter they are."""
    rng = np.random.default_rng(seed)
    spec, mag = rng.uniform(0.05, 0.4, count), rng.uniform(16, 20, count)
    return HeldOut(spec + (0.005 + 0.005 * (mag - 16)) * rng.normal(size=count), spec, mag)


def trained_with(validation, test):
    metrics = photoz_metrics(test.z_pred, test.z_spec)
    return Trained(random_model(TINY, 0), metrics, validation, test, {}, "cpu", SDSS)


def test_intervals_of_the_validation_galaxies_hold_on_the_test_galaxies():
    validation, test = held_out(4000, 1), held_out(4000, 2)
    calibration = validation_calibration(trained_with(validation, test), "abc", "my survey")
    assert calibration.model_sha256 == "abc"
    assert calibration.made["data"] == "the galaxies kept for validation of my survey"
    found = interval_quality(calibration, test)
    assert found["coverage_68"] == pytest.approx(0.6827, abs=0.03)
    assert found["coverage_95"] == pytest.approx(0.95, abs=0.015)
    text = uncertainty_text(found, 4000)
    assert "calibrated on 4,000 galaxies kept for validation" in text
    assert "test galaxies in their range" in text


def test_too_few_validation_galaxies_make_no_calibration_as_the_card_says():
    few = held_out(199, 1)
    assert validation_calibration(trained_with(few, few), "abc", "my survey") is None
    assert interval_quality(None, few) is None
    assert uncertainty_text(None, 199).startswith("None: 199 galaxies were kept for validation, and 200 are needed")


def test_test_galaxies_outside_the_calibrated_range_are_not_scored():
    validation = held_out(400, 1)
    beyond = HeldOut(validation.z_pred + 9, validation.z_spec + 9, validation.mag_r)
    found = interval_quality(validation_calibration(trained_with(validation, beyond), "abc", "my survey"), beyond)
    assert "coverage_68" not in found
    assert uncertainty_text(found, 400).endswith("No test galaxy lies in their range.")

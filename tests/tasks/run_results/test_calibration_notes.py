import numpy as np
import pytest

from tasks.photoz.calibration import Calibration
from tasks.photoz.conformal import calibrate
from tasks.run_results.calibration_notes import calibration_notes


def made(**facts):
    rng = np.random.default_rng(0)
    z_pred = rng.uniform(0.1, 0.4, 300)
    return calibrate(z_pred, z_pred + rng.normal(0, 0.01, 300), rng.uniform(16, 20, 300), "ab" * 32, facts)


@pytest.mark.parametrize(
    ("facts", "request_of_run", "outside", "said"),
    [
        ({"data": "mine/cal"}, {"data_bucket": "mine", "data_prefix": "cal"}, 0, "a run over mine/cal, too"),
        ({"precision": "int8"}, {}, 0, "made from a run in int8, and this run is in float32"),
        ({"precision": "float32"}, {"precision": "int8"}, 0, "made from a run in float32, and this run is in int8"),
        ({}, {}, 3, "no interval for 3 objects outside"),
    ],
)
def test_notes_say_what_limits_the_intervals_of_a_run(facts, request_of_run, outside, said):
    (note,) = calibration_notes(made(**facts), request_of_run, outside)
    assert said in note


def test_notes_are_none_for_other_galaxies_in_the_same_precision():
    facts = {"data": "mine/cal", "precision": "int8"}
    request = {"data_bucket": "mine", "data_prefix": "test", "precision": "int8"}
    assert calibration_notes(made(**facts), request, 0) == []


def test_notes_say_where_nobody_has_calibrated():
    (note,) = calibration_notes(Calibration.normal("ab" * 32), {}, 0)
    assert "taken as a normal distribution, and nobody has checked them" in note

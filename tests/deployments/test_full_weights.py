"""The full-size weights that come with the project, and what lies beside them."""

from inference.contract.object_keys import calibration_key
from inference.model.checkpoint import content_hash
from tasks.photoz.calibration import Calibration
from tests.conftest import ROOT

WEIGHTS = ROOT / "deployments" / "training" / "full" / "model-half.safetensors"


def test_full_weights_have_a_calibration_of_their_own():
    beside = WEIGHTS.with_name(calibration_key(WEIGHTS.name))
    calibration = Calibration.read(beside.read_bytes(), beside.name, content_hash(WEIGHTS))
    assert calibration.made["galaxies"] == 40_000
    assert calibration.made["bins"] == [20, 8]

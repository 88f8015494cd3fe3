"""The qp file of a catalogue, judged by RAIL's own metrics, and our figures beside them."""

import numpy as np
import pytest
import qp
from rail.evaluation.metrics import pointestimates

from inference.storage.store import Store
from tasks.photoz.conformal import calibrate
from tasks.photoz.metrics import photoz_metrics
from tasks.photoz.scores import score
from tasks.run_results.catalogue import read_catalogue
from tasks.run_results.catalogue_qp import qp_bytes
from tests.support.finished_run import BUCKET, PATH, finished_run


@pytest.fixture
def judged(tmp_path):
    """The qp file of 700 galaxies, read back, with their rows and calibration."""
    finished_run(tmp_path, sizes=(300, 400), scatter=0.03)
    catalogue = read_catalogue(Store(tmp_path), BUCKET, PATH)
    rows = catalogue.rows
    calibration = calibrate(*(rows[name].to_numpy() for name in ("z_pred", "z_spec", "mag_r")), "ab" * 32, {})
    (tmp_path / "z.hdf5").write_bytes(qp_bytes(catalogue, calibration))
    return qp.read(str(tmp_path / "z.hdf5")), rows, calibration


def test_metrics_of_a_catalogue_are_those_of_rail(judged):
    _, rows, _ = judged
    z_pred, z_spec = rows["z_pred"].to_numpy(np.float64), rows["z_spec"].to_numpy()
    ours = photoz_metrics(z_pred, z_spec)
    for name, theirs in (
        ("bias_median", pointestimates.PointBias),
        ("sigma_iqr", pointestimates.PointSigmaIQR),
        ("outlier_fraction_rail", pointestimates.PointOutlierRate),
        ("nmad_14826", pointestimates.PointSigmaMAD),
    ):
        assert ours[name] == pytest.approx(theirs(z_pred, z_spec).evaluate(), rel=1e-6), name
    assert ours["outlier_fraction_rail"] > 0


def test_pit_of_the_qp_file_is_that_of_the_calibration(judged):
    ensemble, rows, calibration = judged
    z_spec = ensemble.ancil["redshift"]
    theirs = np.array([float(ensemble[row].cdf(z)) for row, z in enumerate(z_spec)])
    ours = score(calibration, *(rows[name].to_numpy(np.float64) for name in ("z_pred", "z_spec", "mag_r"))).pit
    assert len(theirs) == len(ours) == len(rows)
    assert theirs == pytest.approx(ours, abs=0.02)

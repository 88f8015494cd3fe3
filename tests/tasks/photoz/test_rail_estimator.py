"""The stage in RAIL itself: tables in memory and in HDF5, pipelines, and RAIL's own evaluation of what comes out."""

import os
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import qp
from ceci import Pipeline
from rail.core.data import ModelHandle, QPHandle
from rail.core.stage import RailPipeline
from rail.evaluation.single_evaluator import SingleEvaluator

from inference.contract.sample import R_BAND
from inference.engines.load import open_engine
from inference.errors import BadInput
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.rail_estimator import CosmicFlowsEstimator
from tasks.simulation.survey import simulate
from tasks.staging.weights import DEMO_WEIGHTS


@pytest.fixture(scope="module")
def galaxies():
    survey = simulate(60, seed=20254)
    return {
        "images": survey.images,
        "magnitudes": survey.magnitudes,
        "redshift": survey.redshifts,
        "object_id": np.arange(60),
    }


@pytest.fixture
def table(galaxies, tmp_path):
    with h5py.File(tmp_path / "galaxies.hdf5", "w") as file:
        for name, values in galaxies.items():
            file[f"photometry/{name}"] = values
    return str(tmp_path / "galaxies.hdf5")


def stage(tmp_path, **options):
    options = {"model": str(DEMO_WEIGHTS), "hdf5_groupname": "", "output": str(tmp_path / "pz.hdf5")} | options
    return CosmicFlowsEstimator.make_stage(name="cosmic", **options)


@pytest.fixture(scope="module")
def estimated(galaxies, tmp_path_factory):
    """What the stage estimates for all galaxies at once."""
    return stage(tmp_path_factory.mktemp("at-once")).estimate(galaxies)


def test_estimate_gives_the_p_of_z_of_a_run_for_a_table_in_memory(galaxies, estimated):
    found = estimated
    assert isinstance(found, QPHandle)
    ensemble = found.data
    z_pred = open_engine("onnxruntime", DEMO_WEIGHTS).predict(galaxies["images"], galaxies["magnitudes"])
    assert ensemble.ancil["z_pred"] == pytest.approx(z_pred, abs=1e-6)
    calibration = Calibration.read(DEMO_WEIGHTS.with_name("demo.calibration.json").read_bytes(), "demo")
    ends = calibration.bounds(ensemble.ancil["z_pred"], galaxies["magnitudes"][:, R_BAND])
    inside = ensemble.ancil["calibrated"]
    assert inside.mean() > 0.9
    for name, level in BOUNDS.items():
        assert ensemble.ppf(level)[inside, 0] == pytest.approx(ends[name][inside], abs=2e-3), name
    assert not ensemble.ancil["out_of_domain"].all()
    assert np.array_equal(ensemble.ancil["redshift"], galaxies["redshift"])


def test_estimate_in_chunks_of_a_file_gives_what_it_gives_at_once(galaxies, estimated, table, tmp_path):
    whole = estimated.data
    chunked = stage(tmp_path, chunk_size=25, hdf5_groupname="photometry", input=table)
    chunked.run()
    chunked.finalize()
    parts = qp.read(str(tmp_path / "pz.hdf5"))
    assert parts.objdata["locs"] == pytest.approx(whole.objdata["locs"], abs=1e-6)
    assert np.array_equal(parts.ancil["redshift"], galaxies["redshift"])


def test_estimate_takes_a_handle_and_a_column_for_each_band(galaxies, estimated, tmp_path):
    columns = {f"mag_{band}": galaxies["magnitudes"][:, place] for place, band in enumerate("ugriz")}
    rows = {"cutouts": galaxies["images"], **columns}
    handle = ModelHandle("model", path=str(DEMO_WEIGHTS))
    found = stage(tmp_path, model=handle, images="cutouts", magnitude_columns=list(columns)).estimate(rows)
    assert np.array_equal(found.data.objdata["locs"], estimated.data.objdata["locs"])


def test_estimate_gives_a_flat_p_of_z_outside_the_calibrated_range(galaxies, tmp_path):
    magnitudes = galaxies["magnitudes"].copy()
    magnitudes[0, R_BAND] = 30
    found = stage(tmp_path, zmin=0.0, zmax=2.0).estimate(galaxies | {"magnitudes": magnitudes}).data
    assert not found.ancil["calibrated"][0]
    assert found[0].pdf(np.array([0.2, 1.1, 1.9])) == pytest.approx(0.5, rel=1e-6)


def test_estimate_names_what_a_table_or_a_model_lacks(galaxies, tmp_path):
    with pytest.raises(BadInput, match="no column 'magnitudes'; its columns are 'images'"):
        stage(tmp_path).estimate({"images": galaxies["images"]})
    with pytest.raises(BadInput, match=r"images must be float32 \(B, 5, 32, 32\)"):
        stage(tmp_path).estimate(galaxies | {"images": galaxies["images"][..., :16]})
    shutil.copy(DEMO_WEIGHTS, tmp_path / "own.safetensors")
    with pytest.raises(BadInput, match=r"no calibration own\.calibration\.json beside it"):
        stage(tmp_path, model=str(tmp_path / "own.safetensors")).estimate(galaxies)
    with pytest.raises(BadInput, match=r"there is no file .*gone"):
        stage(tmp_path, model=str(tmp_path / "gone.safetensors")).estimate(galaxies)


def test_stage_runs_in_a_pipeline_saved_and_read_again(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # ceci starts a python3
    pipeline = RailPipeline()
    pipeline.estimate = CosmicFlowsEstimator.build(hdf5_groupname="photometry")
    pipeline.initialize(
        {"model": str(DEMO_WEIGHTS), "input": table}, {"output_dir": ".", "log_dir": ".", "resume": False}, None
    )
    pipeline.save("pipeline.yml")
    assert Pipeline.read("pipeline.yml").run() == 0
    assert qp.read(str(tmp_path / "output_estimate.hdf5")).npdf == 60


def test_stages_p_of_z_is_taken_by_rails_evaluator(galaxies, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    estimated = stage(tmp_path).estimate(galaxies)
    evaluator = SingleEvaluator.make_stage(
        name="evaluate", metrics=["cdeloss"], truth_point_estimates=["redshift"], hdf5_groupname=""
    )
    found = evaluator.evaluate(estimated, {"redshift": galaxies["redshift"]})
    assert found["summary"].data["cdeloss_redshift"][0] < -5

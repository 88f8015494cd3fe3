"""The demo's way from a simulated survey to catalogues that other people's libraries open."""

import json

import lsdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import qp
from rail.evaluation.metrics import pointestimates

from flows.cli import main
from tests.support.finished_run import object_table

RUN = "cosmicai-test/results/demo"


@pytest.mark.soak
def test_demo_gives_catalogues_that_lsdb_and_rail_take(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    store = tmp_path / ".cosmic/store"
    survey = store / "cosmicai-test/survey"
    request = {"bucket": "cosmicai-test", "data_bucket": "cosmicai-test", "data_prefix": "survey", "file_limit": "8"}
    (tmp_path / "request.json").write_text(json.dumps(request | {"batch_size": 64, "result_path": "results/demo"}))
    assert main(["init", "cosmicai-test"]) == 0
    assert main(["simulate", "--samples", "300", "--seed", "7", "--no-page", "--out", "survey.pt"]) == 0
    assert main(["partition", "survey.pt", "--samples", "150", "--to", str(survey)]) == 0
    assert main(["run", "request.json"]) == 0
    pq.write_table(object_table(store), tmp_path / "objects.parquet")
    objects = ["--objects", "objects.parquet"]
    assert main(["catalogue", RUN, "--format", "hats", "--to", "sky", *objects]) == 0
    assert main(["catalogue", RUN, "--to", "z.hdf5", *objects]) == 0
    opened = lsdb.open_catalog(tmp_path / "sky")
    pairs = opened.crossmatch(opened, radius_arcsec=1, n_neighbors=1, suffixes=("", "_2")).compute()
    assert len(pairs) >= 300
    ensemble = qp.read("z.hdf5")
    assert ensemble.npdf > 290
    median, z_spec = (np.asarray(ensemble.ancil[name]) for name in ("zmedian", "redshift"))
    assert pointestimates.PointSigmaIQR(median, z_spec).evaluate() < 0.02

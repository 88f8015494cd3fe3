import json

import pytest

from flows import benchmark as module
from flows.benchmark import benchmark
from inference.dataset import write_partition
from inference.errors import BadInput
from tests.surveys import random_survey

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
BUCKET = "cosmicai-test"


@pytest.fixture
def sweep(store, tmp_path):
    """Two cells over a survey of 306 galaxies, which are two partitions of 3 MB."""
    write_partition(tmp_path / "survey.pt", *random_survey(306))
    return {
        "name": "tiny",
        "description": "two batch sizes",
        "request": {"bucket": BUCKET, "data_bucket": BUCKET, "model": "models/tiny.safetensors"},
        "survey": {"source": str(tmp_path / "survey.pt")},
        "axes": {"batch_size": [16, 64], "partition_size": "3MB", "data_size": "6MB"},
        "repeats": 1,
        "workers": 1,
    }


def test_every_cell_is_a_run_and_their_numbers_are_tables_plots_and_findings(sweep, store, tmp_path):
    document = benchmark(sweep, None, str(store), results=str(tmp_path / "out"))
    assert (document["cells"], document["runs"], document["failed"]) == (2, 2, [])
    names = ["filelimit-2_batchsize-16_prefix-3MB", "filelimit-2_batchsize-64_prefix-3MB"]
    for name in names:
        assert json.loads((store / BUCKET / "results" / name / "1" / "summary.json").read_text())["samples"] == 306
    assert (tmp_path / "out" / "report.html").exists()
    assert list((tmp_path / "out" / "tables").glob("*.csv"))
    assert list((tmp_path / "out" / "plots").glob("*.svg"))


def test_what_is_done_is_not_run_again(sweep, store, monkeypatch):
    first = benchmark(sweep, None, str(store))
    monkeypatch.setattr(module, "run", lambda *_: pytest.fail("a finished run was run again"))
    again = benchmark(sweep, None, str(store))
    assert [run["document"]["run_id"] for run in again["measurements"]] == [
        run["document"]["run_id"] for run in first["measurements"]
    ]


def test_a_cell_that_fails_is_named_and_the_others_are_run(sweep, store):
    (store / BUCKET / "3MB-safetensors").mkdir()
    (store / BUCKET / "3MB-safetensors" / "1.safetensors").write_bytes(b"damaged")
    document = benchmark(sweep, {"axes": {"format": ["safetensors", "pt"], "batch_size": 16}}, str(store))
    assert document["runs"] == 2
    (failure,) = document["failed"]
    assert failure["axes"]["format"] == "safetensors"
    assert "3MB-safetensors" in failure["error"]


def test_a_sweep_above_its_budget_runs_nothing(sweep, store):
    with pytest.raises(BadInput, match="more than the"):
        benchmark(sweep, {"axes": {"executor": "lambda"}}, str(store), max_cost=0.0)
    assert not (store / BUCKET / "results").exists()

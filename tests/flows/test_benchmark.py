import dataclasses
import json

import pytest

from flows import benchmark as module
from flows.benchmark import benchmark
from inference.errors import BadInput, CosmicError
from inference.partitions.partition import write_partition
from inference.storage.lease import LeaseHeldError
from tasks.aws.function_configuration import memory_of
from tasks.compare import LAST_GOOD
from tasks.sweeps.sweep import Sweep
from tests.support.prefect_command import reporting_to
from tests.support.surveys import random_survey, snapshot, write_store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
BUCKET = "cosmicai-test"


def sweep_in(folder):
    """Two cells over a survey of 306 galaxies, which are two partitions of 3 MB."""
    write_partition(folder / "survey.pt", *random_survey(306))
    return {
        "name": "tiny",
        "description": "two batch sizes",
        "request": {"bucket": BUCKET, "data_bucket": BUCKET, "model": "models/tiny.safetensors"},
        "survey": {"source": str(folder / "survey.pt")},
        "axes": {"batch_size": [16, 64], "partition_size": "3MB", "data_size": "6MB"},
        "repeats": 1,
        "workers": 0,
    }


@pytest.fixture
def sweep(tmp_path):
    return sweep_in(tmp_path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_weights, prefect_server):
    """A sweep that is measured: itself, its document, its store and the folder of its tables."""
    folder = tmp_path_factory.mktemp("measured")
    write_store(folder / "store", tiny_weights)
    made = sweep_in(folder)
    with reporting_to(prefect_server):
        document = benchmark(made, None, str(folder / "store"), results=str(folder / "out"))
    return made, document, folder / "store", folder / "out"


def test_sweep_of_runs_ends_in_tables_plots_and_findings(measured):
    _, document, store, out = measured
    assert (document["cells"], document["runs"], document["failed"]) == (2, 2, [])
    names = ["filelimit-2_batchsize-16_prefix-3MB", "filelimit-2_batchsize-64_prefix-3MB"]
    for name in names:
        assert json.loads((store / BUCKET / "results" / name / "1" / "summary.json").read_text())["samples"] == 306
    assert (out / "report.html").exists()
    assert list((out / "tables").glob("*.csv"))
    assert list((out / "plots").glob("*.svg"))


def test_sweep_started_again_runs_no_finished_cell(measured, monkeypatch):
    sweep, first, store, _ = measured
    monkeypatch.setattr(module, "run", lambda *_: pytest.fail("a finished run was run again"))
    again = benchmark(sweep, None, str(store))
    assert [run["document"]["run_id"] for run in again["measurements"]] == [
        run["document"]["run_id"] for run in first["measurements"]
    ]


def test_sweep_that_another_process_measures_is_refused(sweep, store):
    loaded = module.load_sweep(sweep, None)
    with (
        module._lease(loaded, str(store)).keep(),
        pytest.raises(LeaseHeldError, match=r"sweeps/tiny in bucket cosmicai-test is held by run"),
    ):
        benchmark(sweep, None, str(store))
    assert not (store / BUCKET / "results").exists()


def test_sweep_with_other_results_waits_for_the_one_of_its_name(sweep, store):
    with (
        module._lease(module.load_sweep(sweep, None), str(store)).keep(),
        pytest.raises(LeaseHeldError, match=r"sweeps/tiny in bucket cosmicai-test is held by run"),
    ):
        benchmark(sweep | {"results": "other"}, None, str(store))
    assert not (store / BUCKET / "other").exists()


def test_sweep_that_slept_while_another_one_ended_publishes_nothing(measured, monkeypatch):
    sweep, _, store, _ = measured
    published = snapshot(store / BUCKET / "sweeps")
    real = module._done_before

    def asleep(request, root):
        lease = dataclasses.replace(module._lease(module.load_sweep(sweep, None), root), holder="another")
        if (last := lease.newest()) is not None:
            lease.append(dataclasses.replace(last, seconds=0.0))  # in place of a minute's waiting
            with lease.keep(temporary=True):
                pass
        return real(request, root)

    monkeypatch.setattr(module, "_done_before", asleep)
    with pytest.raises(LeaseHeldError):
        benchmark(sweep, None, str(store))
    assert snapshot(store / BUCKET / "sweeps") == published


def test_sweep_measures_cells_with_a_damaged_document_again(sweep, store):
    damaged = {16: "{", 32: "[" * 100_000, 64: '{"missing_ranks": [], "ranks_resumed": 0}'}
    kept = [
        store / BUCKET / "results" / f"filelimit-2_batchsize-{size}_prefix-3MB" / "1" / "summary.json"
        for size in damaged
    ]
    for path, content in zip(kept, damaged.values(), strict=True):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    document = benchmark(sweep, {"axes": {"batch_size": list(damaged)}}, str(store))
    assert document["failed"] == []
    assert [json.loads(path.read_text())["samples"] for path in kept] == [306, 306, 306]


def test_sweep_names_a_failing_cell_and_runs_the_others(sweep, store):
    (store / BUCKET / "3MB-safetensors").mkdir()
    (store / BUCKET / "3MB-safetensors" / "1.safetensors").write_bytes(b"damaged")
    document = benchmark(sweep, {"axes": {"format": ["safetensors", "pt"], "batch_size": 16}}, str(store))
    assert document["runs"] == 2
    (failure,) = document["failed"]
    assert failure["axes"]["format"] == "safetensors"
    assert "3MB-safetensors" in failure["error"]


def test_sweep_above_its_budget_runs_nothing(sweep, store):
    with pytest.raises(BadInput, match="more than the"):
        benchmark(sweep, {"axes": {"executor": "lambda"}}, str(store), max_cost=0.0)
    assert not (store / BUCKET / "results").exists()


def test_sweep_whose_runs_all_fail_publishes_its_report_and_fails(sweep, store, tmp_path):
    (store / BUCKET / "3MB").mkdir()
    (store / BUCKET / "3MB" / "1.pt").write_bytes(b"damaged")
    with pytest.raises(CosmicError, match="every run of the sweep failed, the first because"):
        benchmark(sweep, None, str(store), results=str(tmp_path / "out"))
    assert (tmp_path / "out" / "report.html").exists()


def test_fresh_sweep_is_compared_with_the_last_good_one(sweep, store):
    nights = [benchmark(sweep, None, str(store), fresh=True, fail_above=100.0) for _ in range(2)]
    places = [[run["document"]["request"]["result_path"] for run in night["measurements"]] for night in nights]
    assert len({path.split("/")[1] for path in places[0]}) == 1, "one folder for each night"
    assert not set(places[0]) & set(places[1])
    kept = json.loads((store / BUCKET / "sweeps" / "tiny" / LAST_GOOD).read_text())
    assert kept["created"] == nights[1]["created"]


def test_impossible_gate_is_refused_before_the_first_run(sweep, store):
    with pytest.raises(BadInput, match="fail-above"):
        benchmark(sweep, None, str(store), fail_above=0.5)
    assert not (store / BUCKET / "results").exists()


def test_sweep_sets_the_memory_of_functions_alone():
    axes = {"executor": ["local", "dask", "lambda"], "memory_mb": [2048], "data_size": "25MB"}
    read = Sweep.read({"name": "memory", "request": {"bucket": BUCKET, "data_bucket": BUCKET}, "axes": axes})
    assert [cell.executor for cell in read.cells() if module._sets_memory(read, cell)] == ["lambda"]


@pytest.mark.soak
def test_sweep_over_memory_restores_the_memory_of_the_function(stack):
    sweep = {
        "name": "memory",
        "request": {"bucket": BUCKET, "data_bucket": BUCKET, "model": "models/tiny.safetensors"},
        "survey": {"samples": 306},
        "axes": {
            "batch_size": 64,
            "partition_size": "3MB",
            "executor": ["lambda", "local"],
            "memory_mb": [2048, 4096],
        },
        "repeats": 1,
        "workers": 1,
    }
    before = memory_of("cosmic-executor")
    document = benchmark(sweep, None, "s3://")
    assert document["failed"] == []
    given = {
        run["axes"]["memory_mb"]: run["document"]["function_memory_mb"]
        for run in document["measurements"]
        if run["axes"]["executor"] == "lambda"
    }
    assert given == {2048: 2048, 4096: 4096}
    assert memory_of("cosmic-executor") == before

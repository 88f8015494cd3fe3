"""What a Prefect server has of data and models: flow runs of the survey's commands, and assets with their sources."""

import time

import httpx
import pytest

from flows.cli import main
from flows.run import run
from inference.partitions.partition import write_partition
from tests.support.fits_survey import write_survey
from tests.support.surveys import random_survey, request_of

pytestmark = pytest.mark.slow
BUCKET = "cosmicai-test"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, resolved."""
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


@pytest.fixture
def server(prefect_server, monkeypatch):
    """Commands report to the session's server; its API."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    with httpx.Client(base_url=prefect_server, timeout=30) as api:
        yield api


def sources_of(api, path):
    """What the asset at a path was made from, as the server's events tell; they arrive a moment later."""
    wanted = {
        "event": {"name": ["prefect.asset.materialization.succeeded"]},
        "resource": {"id": [f"file://{path}"]},
    }
    for _ in range(100):
        events = api.post("/events/filter", json={"filter": wanted}).json()["events"]
        if events:
            related = events[0]["related"]
            return {
                each["prefect.resource.id"].removeprefix("file://")
                for each in related
                if each["prefect.resource.role"] == "asset"
            }
        time.sleep(0.1)
    raise AssertionError(f"no asset at {path}")


def latest_run(api, flow, folder):
    """The flow run of a flow that names this folder, and its artifacts by key."""
    found = api.post("/flow_runs/filter", json={"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"}).json()
    (flow_run,) = [each for each in found if str(folder) in each["name"]]
    of_run = {"flow_runs": {"id": {"any_": [flow_run["id"]]}}}
    return flow_run, {each["key"]: each for each in api.post("/artifacts/filter", json=of_run).json() if each["key"]}


def test_partition_is_a_flow_run_whose_partitions_come_from_its_file(server, folder, prefect_api):
    write_partition(folder / "survey.pt", *random_survey(70))
    parts = folder / "parts"
    assert main(["partition", "survey.pt", "--samples", "30", "--to", str(parts)]) == 0
    flow_run, artifacts = latest_run(server, "partition", folder)
    assert (flow_run["tags"], flow_run["state"]["type"]) == (["cosmic", "partition"], "COMPLETED")
    assert "3 partitions in" in artifacts["cosmic-partitions"]["description"]
    assert artifacts["cosmic-progress"]["data"] == 100.0
    assert sources_of(server, parts) == {str(folder / "survey.pt")}


def test_ingest_is_a_flow_run_whose_partitions_come_from_its_folder(server, folder, prefect_api):
    write_survey(folder / "raw", 7)
    assert main(["ingest", "raw", "--to", str(folder / "parts"), "--workers", "1"]) == 0
    flow_run, artifacts = latest_run(server, "ingest", folder)
    assert flow_run["tags"] == ["cosmic", "ingest"]
    assert {"cosmic-partitions", "cosmic-progress"} <= artifacts.keys()
    assert sources_of(server, folder / "parts") == {str(folder / "raw")}


def test_ingest_of_bad_input_fails_its_flow_run_with_the_same_sentence(server, folder, prefect_api, capsys):
    (folder / "raw").mkdir()
    assert main(["ingest", "raw", "--to", str(folder / "parts")]) == 2
    assert "holds no table" in capsys.readouterr().err
    flow_run, _ = latest_run(server, "ingest", folder)
    assert flow_run["state"]["type"] == "FAILED"
    assert "holds no table" in flow_run["state"]["message"]


def test_results_of_a_run_come_from_its_partitions_and_its_model(server, store, prefect_api):
    run(request_of(result_path="results/lineage"), str(store), workers=1)
    bucket = store.resolve() / BUCKET
    made_from = sources_of(server, bucket / "results/lineage")
    assert str(bucket / "survey") in made_from
    assert any(path.startswith(str(bucket / "models")) for path in made_from)

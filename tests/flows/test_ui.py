"""What the Prefect UI shows of a run, read from the server's API: the graph, the task runs and the artifacts."""

import base64
import json
import re
import shutil
import time

import httpx
import pytest

from flows.run import run
from inference.errors import RunIncomplete
from tests.support.finished_run import BUCKET
from tests.support.prefect_command import reporting_to, wait_for
from tests.support.surveys import request_of, write_survey

pytestmark = pytest.mark.slow
PATH = "results/ui"


@pytest.fixture(scope="module")
def root(tmp_path_factory, tiny_weights):
    root = tmp_path_factory.mktemp("store")
    write_survey(root / BUCKET / "survey", sizes=(20, 10))
    (root / BUCKET / "models").mkdir()
    for path in tiny_weights.parent.iterdir():
        (root / BUCKET / "models" / path.name).write_bytes(path.read_bytes())
    return root


@pytest.fixture(scope="module")
def shown(root, prefect_server):
    """(the flow run, the edges of its graph by name, its task runs by name, its artifacts by key, its log's lines)."""
    with reporting_to(prefect_server):
        run_id = run(request_of(result_path=PATH), str(root), workers=1)["run_id"]
    with httpx.Client(base_url=prefect_server, timeout=30) as api:
        of_run = {"flow_runs": {"id": {"any_": [run_id]}}}
        for _ in range(100):  # task runs arrive as events
            tasks = {each["name"]: each for each in api.post("/task_runs/filter", json=of_run).json()}
            if "publish report" in " ".join(tasks) and all(each["end_time"] for each in tasks.values()):
                break
            time.sleep(0.2)
        graph = api.get(f"/flow_runs/{run_id}/graph-v2").json()
        flow_run = api.get(f"/flow_runs/{run_id}").json()
        found = api.post("/artifacts/filter", json=of_run).json()
        lines = wait_for(lambda: _whole_log(api, run_id))
    names = {node["id"]: node["label"] for _, node in graph["nodes"]}
    edges = {(names[parent["id"]], node["label"]) for _, node in graph["nodes"] for parent in node["parents"]}
    return flow_run, edges, tasks, {each["key"]: each for each in found if each["key"]}, lines


def _whole_log(api, run_id):
    """The lines of a run's log once its last has come; logs are sent in batches."""
    found = api.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run_id]}}}).json()
    lines = [each["message"] for each in found]
    return lines if any("2 ranks done" in line or "Finished in state" in line for line in lines) else None


def named(tasks, start):
    (name,) = [name for name in tasks if name.startswith(start)]
    return name


def test_flow_run_has_its_result_path_as_name_and_its_kind_as_tags(shown):
    flow_run, *_ = shown
    assert flow_run["name"] == f"cosmicai-test/{PATH}"
    assert flow_run["tags"] == ["cosmic", "local", "onnxruntime"]


def test_graph_has_edges_from_plan_to_ranks_to_summary(shown):
    _, edges, tasks, *_ = shown
    plan, summary = named(tasks, "plan ranks"), named(tasks, "summarize")
    for rank in ("rank 000 of 002", "rank 001 of 002"):
        assert {(plan, rank), (rank, summary)} <= edges


def test_steps_are_called_what_they_do(shown):
    _, _, tasks, *_ = shown
    steps = {"stage scripts", "plan ranks", "summarize", "compute cost", "publish report"}
    assert steps == {name for name in tasks if not name.startswith("rank ")}


def test_rank_ends_in_a_state_that_says_what_it_did(shown):
    _, _, tasks, *_ = shown
    message = tasks["rank 000 of 002"]["state"]["message"]
    assert message.startswith("20 galaxies in ")
    assert ", attempt 1, on " in message


def test_artifact_descriptions_name_their_run(shown):
    *_, artifacts, _ = shown
    assert {"cosmic-plan", "cosmic-ranks", "cosmic-bill", "cosmic-report"} <= artifacts.keys()
    for key, artifact in artifacts.items():
        assert (artifact["description"] or "").startswith(f"cosmicai-test/{PATH}: "), key


@pytest.mark.parametrize("key", ["cosmic-plot-ranks", "cosmic-plot-redshifts"])
def test_plots_are_image_artifacts(shown, key):
    *_, artifacts, _ = shown
    assert artifacts[key]["type"] == "image"
    kind, _, content = artifacts[key]["data"].partition(";base64,")
    assert kind == "data:image/svg+xml"
    assert base64.b64decode(content).startswith(b"<svg ")


def test_bill_artifact_rounds_money(shown):
    *_, artifacts, _ = shown
    bill = artifacts["cosmic-bill"]
    costs = [row["cost"] for row in json.loads(bill["data"])]
    assert costs
    assert all(re.fullmatch(r"\$0|<\$0\.000001|\$\d+\.\d{2,6}", cost) for cost in costs), costs
    assert re.search(r": (<\$0\.000001|\$0\.\d{2,6}), ", bill["description"])


def test_log_says_what_each_step_did_and_never_only_completed(shown):
    *_, lines = shown
    said = "\n".join(lines)
    for sentence in (
        r"20 galaxies in \d+\.\d\d s, attempt 1, on .+",
        r"the model is in the bucket already, in \d+\.\d\d s",
        r"2 ranks planned over 2 partitions of \d.*B, 0 done before, in \d+\.\d\d s",
        r"2 of 2 ranks combined, 30 galaxies, in \d+\.\d\d s",
        r"2 calls priced: .+, in \d+\.\d\d s",
        r"report\.html and summary\.json written, \d.*B, in \d+\.\d\d s",
        r"2 of 2 ranks done, 30 galaxies, in \d+\.\d\d s",
    ):
        assert re.search(f"^{sentence}$", said, re.MULTILINE), (sentence, said)
    assert "Finished in state" not in said


def test_log_of_an_incomplete_run_ends_with_the_ranks_cause(tmp_path, root, prefect_server, caplog):
    shutil.copytree(root / BUCKET, tmp_path / BUCKET, ignore=shutil.ignore_patterns("results", ".*"))
    (tmp_path / BUCKET / "survey" / "2.pt").write_bytes(b"cut off")
    with reporting_to(prefect_server), caplog.at_level("INFO", "prefect"), pytest.raises(RunIncomplete):
        run(request_of(result_path=PATH), str(tmp_path), workers=0)
    last = [each.getMessage() for each in caplog.records if each.name == "prefect.flow_runs"][-1]
    assert last.startswith("1 of 2 ranks is missing (rank 1: survey/2.pt ")

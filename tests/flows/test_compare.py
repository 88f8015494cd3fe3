import json
import time

import pytest
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker

from flows.compare import compare
from inference.errors import BadInput
from tasks.sweeps.comparison_table import REGRESSION
from tests.support.surveys import request_of, snapshot
from tests.support.swept import measured

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


def ask(path, **body):
    with get_client(sync_client=True) as client:
        return client.request("POST", path, json=body).json()


def events_of(name):
    """The events of that name, once the server has any."""
    EventsWorker.drain_all()
    wanted = {"event": {"name": [REGRESSION]}, "resource": {"id": [f"cosmic.comparison.{name}"]}}
    for _ in range(100):
        found = ask("/events/filter", filter=wanted)["events"]
        if found:
            return found
        time.sleep(0.1)  # the server writes events in its own time
    return []


@pytest.fixture
def runs(tmp_path):
    """Two runs that are there, the second twice as slow."""
    for name, speed in (("a", 1.0), ("b", 0.5)):
        (tmp_path / "bench" / name).mkdir(parents=True)
        document = measured(repeats=1, speed=speed)[0].document
        (tmp_path / "bench" / name / "summary.json").write_text(json.dumps(document))
    return str(tmp_path)


def test_compare_runs_a_request_both_ways_as_subflows_in_turns(store):
    changed = {"workers": 0, "request": {"batch_size": 8}}
    comparison = compare({"workers": 0}, changed, request_of(), str(store), repeats=2, key="both-ways")
    assert comparison["warnings"] == ["different batch size: A has 16, B has 8"]
    rows = {row["metric"]: row for row in comparison["rows"]}
    assert (rows["samples"]["a_runs"], rows["samples"]["b_runs"], rows["samples"]["verdict"]) == (2, 2, "equal")
    created = {
        side: [
            json.loads((store / f"cosmicai-test/results/test/{side}/{repeat}/summary.json").read_text())["run_id"]
            for repeat in (1, 2)
        ]
        for side in ("a", "b")
    }
    every = [*created["a"], *created["b"]]
    started = {run: ask("/flow_runs/filter", flow_runs={"id": {"any_": [run]}})[0] for run in every}
    assert all(run["parent_task_run_id"] for run in started.values())
    in_order = sorted(started, key=lambda run: started[run]["start_time"])
    assert in_order == [created["a"][0], created["b"][0], created["a"][1], created["b"][1]]


def test_comparison_is_an_artifact_and_a_tripped_gate_is_an_event(runs):
    comparison = compare("bench/a", "bench/b", store=runs, fail_above=1.1, key="nightly-gate")
    assert comparison["tripped"]
    (artifact,) = ask("/artifacts/filter", artifacts={"key": {"any_": ["nightly-gate"]}})
    assert "Makespan, s" in artifact["data"]
    assert "times worse" in artifact["description"]
    (event,) = events_of("nightly-gate")
    assert event["payload"]["tripped"] == comparison["tripped"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": 3}, "a must be the place of a run"),
        ({"a": {"speed": 3}}, "a has an unknown key speed"),
        ({"a": {"request": 3}}, "a: request must be an object"),
        ({"b": {"executor": "moon"}, "request": request_of()}, "moon"),
        ({"b": {"executor": "lambda"}, "request": request_of()}, "s3://"),
        ({"a": {}, "request": request_of(batch_size="x")}, "batch_size must be a whole number"),
        ({"repeats": 0}, "repeats must lie between 1 and 100"),
        ({"fail_above": 0.5}, "--fail-above is a ratio"),
        ({"b": "bench/c"}, "no run ended at bench/c"),
    ],
)
def test_compare_refuses_wrong_input_before_the_first_run(runs, tmp_path, given, message):
    before = snapshot(tmp_path)
    with pytest.raises(BadInput, match=message):
        compare(**({"a": "bench/a", "b": "bench/b", "store": runs} | given))
    assert snapshot(tmp_path) == before

import dataclasses
import json

import pytest

from inference.errors import StoreError
from inference.events import Script
from inference.plan import Model, events_of
from inference.request import RunRequest
from inference.start import EXECUTIONS, INVOCATIONS, SUMMARIES, begin
from inference.store import Store
from tests.fixtures import RESULT
from tests.surveys import read_json, request_of, write_survey

BUCKET = "cosmicai-test"
MODEL = Model("models/tiny.safetensors", "a" * 64)


@pytest.fixture
def store(tmp_path):
    write_survey(tmp_path / BUCKET / "survey", suffix=".safetensors")
    return Store(tmp_path)


@pytest.fixture
def results(tmp_path):
    return tmp_path / BUCKET / "results" / "test"


def request(**changes):
    return RunRequest.read(request_of(**changes))


def finish(store, start, rank):
    """Put a rank's result where the plan wants it."""
    event = start.plan.events[rank]
    key = f"results/test/predictions/{rank}.1-a.safetensors"
    result = dataclasses.replace(
        RESULT,
        rank=rank,
        world_size=event.world_size,
        fingerprint=event.fingerprint,
        data_path=event.data_paths[0],
        predictions_path=key,
    )
    store.write(BUCKET, key, b"redshifts")
    store.write(BUCKET, f"results/test/{rank}.json", json.dumps(result.to_wire()).encode())


def test_ranks_that_are_done_are_resumed(store):
    finish(store, begin(store, request(), MODEL, "one"), 2)
    assert begin(store, request(), MODEL, "two").resumed == (2,)


def test_results_of_another_model_are_put_away_with_what_was_made_from_them(store, results):
    finish(store, begin(store, request(), MODEL, "one"), 2)
    for name in (*SUMMARIES, INVOCATIONS):
        (results / name).write_text("{}")
    assert begin(store, request(), Model(MODEL.key, "b" * 64), "two").resumed == ()
    left = {path.name for path in results.rglob("*") if path.is_file()}
    assert left == {"payload.json", INVOCATIONS}


def test_a_fresh_start_puts_everything_away_the_bill_too(store, results):
    finish(store, begin(store, request(), MODEL, "one"), 2)
    for name in (*SUMMARIES, INVOCATIONS, EXECUTIONS):
        (results / name).write_text("{}")
    assert begin(store, request(), MODEL, "two", fresh=True).resumed == ()
    assert {path.name for path in results.rglob("*") if path.is_file()} == {"payload.json"}


def test_the_plan_can_be_read_back_from_what_was_written_down(store, results):
    start = begin(store, request(), MODEL, "one")
    document = read_json(results / "payload.json")
    read = events_of(document, RunRequest.of_payload(document))
    for event, planned in zip(read, start.plan.events, strict=True):
        assert (event.rank, event.fingerprint, event.data_paths) == (
            planned.rank,
            planned.fingerprint,
            planned.data_paths,
        )


def test_a_models_plan_stays_away_from_the_buckets_root(store, tmp_path):
    begin(store, request(), MODEL, "one")
    assert not (tmp_path / BUCKET / "payload.json").exists()


def test_a_script_that_meets_another_runs_plan_changes_nothing(store, results, tmp_path):
    script = Script(folder="A B", entry="/tmp/A B/run.py", sha256="c" * 64)
    asked = request(model=None, script=script.entry, S3_object_name=script.folder)
    begin(store, asked, script, "one")
    with pytest.raises(StoreError, match="run one holds"):
        begin(store, asked.model_copy(update={"result_path": "results/other"}), script, "two")
    assert read_json(tmp_path / BUCKET / "payload.json")["result_path"] == "results/test"
    assert not (results.parent / "other").exists()

import dataclasses
import hashlib
import json
import shutil

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.runs.finished import last_summary, stored_summary
from inference.runs.plan import Model
from inference.storage.store import Store
from tests.support.started_run import start_run
from tests.support.surveys import request_of, snapshot, write_survey
from tests.support.wire_examples import RESULT

BUCKET, PATH = "cosmicai-test", "results/test"
WEIGHTS = b"weights"


def request(**changes):
    return RunRequest.read(request_of(**changes))


@pytest.fixture
def root(tmp_path):
    """A store in which the request's run lies finished."""
    write_survey(tmp_path / BUCKET / "survey", suffix=".safetensors")
    store = Store(tmp_path)
    store.write(BUCKET, "models/tiny.safetensors", WEIGHTS)
    start = start_run(store, request(), Model("models/tiny.safetensors", hashlib.sha256(WEIGHTS).hexdigest()), "one")
    for event in start.plan.events:
        key = f"{PATH}/predictions/{event.rank}.1-0123abcd.safetensors"
        same = {"rank": event.rank, "world_size": event.world_size, "fingerprint": event.fingerprint}
        result = dataclasses.replace(RESULT, **same, data_path=event.data_paths[0], predictions_path=key)
        store.write(BUCKET, key, b"redshifts")
        store.write(BUCKET, f"{PATH}/{event.rank}.json", json.dumps(result.to_wire()).encode())
    for name in ("combined_data.json", "report.html", "predictions.parquet"):
        store.write(BUCKET, f"{PATH}/{name}", b"x")
    ran = request(region="eu-west-1").document()  # as a run on Lambda fills it in
    summary = {"missing_ranks": [], "ranks_done": 4, "request": ran, "samples": 135, "store": str(tmp_path)}
    store.write(BUCKET, f"{PATH}/summary.json", json.dumps(summary).encode())
    return tmp_path


def test_a_finished_request_gets_its_summary_and_nothing_is_written(root):
    before = snapshot(root)
    assert stored_summary(request(), str(root))["samples"] == 135
    assert snapshot(root) == before


def test_the_model_counts_by_its_content_wherever_it_lies(root, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(WEIGHTS)
    folder = root / BUCKET / PATH
    summary = json.loads((folder / "summary.json").read_text())
    summary["request"]["model"] = str(copy)
    (folder / "summary.json").write_text(json.dumps(summary))
    assert stored_summary(request(model=str(copy)), str(root)) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 17},
        {"world_size": 5},
        {"file_limit": 3},
        {"engine": "torch"},
        {"memory_mb": 2048},
        {"result_path": "results/other"},
        {"data_prefix": "none"},
        {"model": "models/none.safetensors"},
        {"model": None},
        {"partition": {"source": "/x.pt", "size": 10}, "data_prefix": "survey"},
    ],
    ids=str,
)
def test_another_request_is_not(root, changes):
    assert stored_summary(request(**changes), str(root)) is None


def gone(path):
    path.unlink()


def damaged(path):
    path.write_bytes(path.read_bytes()[:5])


@pytest.mark.parametrize("name", ["summary.json", "payload.json", "2.json"])
@pytest.mark.parametrize("spoil", [gone, damaged])
def test_nor_one_of_which_something_is_gone_or_damaged(root, spoil, name):
    spoil(root / BUCKET / PATH / name)
    assert stored_summary(request(), str(root)) is None


@pytest.mark.parametrize(
    "name", ["predictions/2.1-0123abcd.safetensors", "predictions.parquet", "report.html", "combined_data.json"]
)
def test_nor_one_whose_redshifts_or_tables_are_gone(root, name):
    gone(root / BUCKET / PATH / name)
    assert stored_summary(request(), str(root)) is None


def test_nor_one_whose_partitions_or_weights_have_changed(root):
    (root / BUCKET / "models" / "tiny.safetensors").write_bytes(b"others")
    assert stored_summary(request(), str(root)) is None
    (root / BUCKET / "models" / "tiny.safetensors").write_bytes(WEIGHTS)
    assert stored_summary(request(), str(root)) is not None
    path = root / BUCKET / "survey" / "3.safetensors"
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)
    assert stored_summary(request(), str(root)) is None


def test_nor_one_in_a_store_that_was_moved_whose_report_lies_elsewhere_now(root, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "store"
    root.rename(moved)
    assert stored_summary(request(), str(moved)) is None


def test_a_store_copied_with_its_times_goes_on_where_it_was(root, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copied") / "store"
    shutil.copytree(root, copy)
    model = Model("models/tiny.safetensors", hashlib.sha256(WEIGHTS).hexdigest())
    assert start_run(Store(copy), request(), model, "two").resumed == (0, 1, 2, 3)


def test_nor_an_incomplete_one(root):
    path = root / BUCKET / PATH / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"missing_ranks": [2]}))
    assert stored_summary(request(), str(root)) is None


def test_a_local_run_billed_for_another_region_does_not_answer(root):
    path = root / BUCKET / PATH / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"executor": "local"}))
    assert stored_summary(request(), str(root)) is None
    assert stored_summary(request(region="eu-west-1"), str(root)) is not None


def test_a_store_that_cannot_be_reached_is_reported_as_such():
    with pytest.raises(BadInput, match="a store is a folder or bare s3://"):
        stored_summary(request(), "s3:/wrong")


def test_the_last_summary_is_found_whatever_is_missing_or_damaged(root):
    (root / BUCKET / PATH / "2.json").write_text("{")
    assert stored_summary(request(), str(root)) is None
    assert last_summary(request(), str(root))["samples"] == 135
    assert last_summary(request(bucket="another-bucket"), str(root)) is None

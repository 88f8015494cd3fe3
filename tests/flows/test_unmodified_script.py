"""One script in the replaced system's manner, the same bytes on every executor; a folder store gives it S3."""

import json
from pathlib import Path

import pytest

from flows.run import run
from inference.contract.run_request import RunRequest
from inference.storage.store import Store
from tasks.aws.buckets import make_bucket
from tests.support.surveys import SIZES, write_survey

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
NAME = "Galaxy Survey"
SOURCE = Path(__file__).parents[1] / "data" / NAME
BUCKET, DATA = "cosmicai-original", "cosmicai-original-data"
RANKS = 2


def request(executor):
    """As contract, "Run request", has it: numbers as text, the script where the old function found it."""
    return {
        "bucket": BUCKET,
        "file_limit": str(RANKS),
        "batch_size": 16,
        "object_type": "folder",
        "S3_object_name": NAME,
        "script": f"/tmp/{NAME}/Inference/inference.py",
        "result_path": f"result-partition-1MB/1GB/{executor}",
        "data_bucket": DATA,
        "data_prefix": "1MB",
    }


def fill(store, folder):
    """Stage the script as it is, by hand as people did, and the partitions in the bucket of data."""
    for path in SOURCE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            store.write(BUCKET, f"{NAME}/{path.relative_to(SOURCE).as_posix()}", path)
    write_survey(folder)
    for path in sorted(folder.iterdir()):
        store.write(DATA, f"1MB/{path.name}", path)


def ran_as_it_is(executor, root):
    document = run(request(executor), root, executor, **({"workers": 2} if executor in ("local", "dask") else {}))
    assert (document["ranks_done"], document["missing_ranks"], document["samples"]) == (RANKS, [], sum(SIZES[:RANKS]))
    store, path = Store(root), request(executor)["result_path"]
    records = store.read_json(BUCKET, f"{path}/combined_data.json")
    assert [record["data_path"] for record in records] == ["1MB/1.pt", "1MB/2.pt"]
    assert all(7.0 < record["last_redshift"] < 8.0 for record in records), "the weights at /tmp were read"
    assert store.head(DATA, f"{path}/0.json") is not None, "the result is where the script put it, too"
    planned = json.loads(store.read(BUCKET, "payload.json"))
    assert {name: planned[name] for name in request(executor)} == request(executor)


@pytest.mark.parametrize("executor", [pytest.param("local", marks=pytest.mark.soak), "dask"])
def test_the_script_runs_on_a_folder_store(executor, tmp_path, capfd):
    fill(Store(tmp_path / "store"), tmp_path / "survey")
    ran_as_it_is(executor, str(tmp_path / "store"))
    printed = capfd.readouterr()
    assert "executed script" in printed.err
    assert "executed script" not in printed.out, "a command's own output may be JSON"


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("executor", ["lambda", pytest.param("step-functions", marks=pytest.mark.soak)])
def test_the_script_runs_in_functions(executor, tmp_path):
    for bucket in (BUCKET, DATA):
        make_bucket(bucket)
    fill(Store("s3://"), tmp_path / "survey")
    ran_as_it_is(executor, "s3://")


def test_the_request_is_one_of_the_replaced_system():
    keys = {"bucket", "file_limit", "batch_size", "object_type", "S3_object_name", "script", "result_path"}
    assert set(request("local")) == keys | {"data_bucket", "data_prefix"}
    assert RunRequest.read(request("local")).script_at("").key == f"{NAME}/Inference/inference.py"

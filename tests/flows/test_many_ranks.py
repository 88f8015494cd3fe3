import json

import pytest

from flows.run import run
from inference.storage.store import Store
from tests.support.surveys import SIZES, read_json, request_of

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("prefect_api")]
BUCKET = "cosmicai-test"


def test_local_run_of_1200_ranks_counts_each_object_once(store):
    wanted = request_of(world_size=1200)
    document = run(wanted, str(store), workers=2)
    results = store / BUCKET / "results" / "test"
    records = read_json(results / "combined_data.json")
    assert [record["rank"] for record in records] == list(range(1200))
    assert (document["ranks_done"], document["objects"]) == (1200, sum(SIZES))
    assert document["samples"] == 300 * sum(SIZES)
    again = run(wanted, str(store), workers=2)
    assert (again["ranks_done"], again["ranks_resumed"]) == (1200, 1200)


@pytest.mark.parametrize("executor", ["lambda", "step-functions"])
def test_lambda_run_of_1200_ranks_has_them_all(executor, replaced):
    replaced("handler")
    path = f"results/many/{executor}"
    document = run(request_of(world_size=1200, result_path=path, max_concurrency=32), "s3://", executor)
    assert (document["ranks_done"], document["missing_ranks"]) == (1200, [])
    records = json.loads(Store("s3://").read(BUCKET, f"{path}/combined_data.json"))
    assert [record["rank"] for record in records] == list(range(1200))
    assert {record["data_path"] for record in records} == {f"survey/{number}.pt" for number in (1, 2, 3, 4)}


def test_rank_of_70_seconds_is_called_once(replaced):
    replaced("slow")
    for stored in Store("s3://").list(BUCKET, "executions"):
        Store("s3://").delete(BUCKET, [stored.key])
    document = run(request_of(file_limit=1, result_path="results/slow"), "s3://", "lambda")
    assert (document["ranks_done"], document["missing_ranks"]) == (1, [])
    assert len(Store("s3://").list(BUCKET, "executions")) == 1
    (row,) = document["ranks"]
    assert row["attempt"] == 1
    assert row["billed_s"] > 70

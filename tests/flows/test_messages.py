"""A script written for FMI, run by the flow on local workers: all ranks at once, and again all if one is missing."""

import json

import pytest

from flows.run import run
from inference.errors import BadInput
from inference.storage.store import Store
from tests.support.staged_scripts import WRITES_A_RESULT
from tests.support.surveys import request_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
# In the manner of FMI's own client: no word in it of how messages travel.
SCRIPT = """
import os, sys, time, fmi
rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
comm = fmi.Communicator(rank, world_size, "../../config/fmi.json", "Test", 512)
comm.hint(fmi.hints.fast)
time.sleep(0.2 * rank)
comm.barrier()
total = comm.allreduce([rank + 0.5] * 2, fmi.func(fmi.op.sum), fmi.types(fmi.datatypes.double_list, 2))
os.environ["TOTAL"] = str(total)
"""


def test_script_that_sums_over_its_ranks_runs_as_it_is(store, tmp_path):
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "run.py").write_text(SCRIPT + WRITES_A_RESULT)
    script = {"script": "/tmp/sums/run.py", "S3_object_name": "sums", "script_source": str(tmp_path / "script")}
    request = request_of(**script, model=None, file_limit=3, messages="tcp", result_path="results/sums")
    with pytest.raises(BadInput, match="all 3 ranks must run at once"):
        run(request, str(store), workers=2)
    document = run(request, str(store), workers=3)
    folder = store / "cosmicai-test" / "results" / "sums"
    assert (document["ranks_done"], document["samples"]) == (3, 60)
    records = json.loads((folder / "combined_data.json").read_text())
    assert [record["seen"]["TOTAL"] for record in records] == ["[4.5, 4.5]"] * 3
    waited = document["messages"]
    assert waited["waited_s"] == sum(record["message_wait_s"] for record in records) > 0
    own = [record["wall_total_s"] - record["message_wait_s"] for record in records]
    assert waited["barrier_s"] == pytest.approx(3 * max(own) - sum(own))
    assert waited["barrier_usd"] == pytest.approx(waited["barrier_s"] * 10 * document["cost"]["items"][0]["unit_usd"])
    assert any("for messages of one another" in note for note in document["notes"])
    assert [path for path in (store / "cosmicai-test" / ".cosmic" / "messages").rglob("*") if path.is_file()] == []
    (folder / "1.json").unlink()
    assert run(request, str(store), workers=3)["ranks_resumed"] == 0


WRITES_TO_S3 = """
import boto3, json
key = os.environ["RESULT_PATH"] + f"/{rank}.json"
record = {"total_cpu_time (seconds)": 2.0, "sample_persec": 10.0, "total": total}
boto3.client("s3").put_object(Bucket=os.environ["RESULT_BUCKET"], Key=key, Body=json.dumps(record))
"""


@pytest.mark.soak
@pytest.mark.usefixtures("stack")
def test_functions_send_messages_over_the_store(tmp_path):
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "run.py").write_text(SCRIPT + WRITES_TO_S3)
    script = {"script": "/tmp/sums/run.py", "S3_object_name": "sums", "script_source": str(tmp_path / "script")}
    request = request_of(**script, model=None, file_limit=3, messages="store", result_path="results/sums")
    document = run(request, "s3://", "lambda")
    records = Store("s3://").read_json("cosmicai-test", "results/sums/combined_data.json")
    assert [record["total"] for record in records] == [[4.5, 4.5]] * 3
    assert document["messages"]["waited_s"] > 0
    assert Store("s3://").list("cosmicai-test", ".cosmic/messages") == []

import uuid

import pytest

from inference.errors import BadPartition
from inference.handler import _open_store, lambda_handler
from inference.resource_usage import WORKER
from inference.storage.store import Store
from inference.worker import LocalContext
from tests.support.s3_fault_proxy import NO_SUCH_KEY, s3_fault_proxy
from tests.support.staged_scripts import RECORD, put_script

pytestmark = pytest.mark.slow  # the emulator starts
PARTITION = "planned/4.pt"
SAVES_A_RESULT = f"""
import json, os
from inference.storage.store import Store
key = os.environ["RESULT_PATH"] + "/" + os.environ["RANK"] + ".json"
Store("s3://").write(os.environ["RESULT_BUCKET"], key, json.dumps({RECORD!r}).encode())
"""


@pytest.fixture
def rank(emulator_url, plain_bucket, monkeypatch):
    """Runs a script's rank, planned over a partition on S3 that is missing for the first looks; and the looks left."""
    missing = [0]

    def refuse(method, path):
        if method == "HEAD" and path.endswith(PARTITION) and missing[0]:
            missing[0] -= 1
            return NO_SUCH_KEY
        return None

    with s3_fault_proxy(emulator_url) as (proxy, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        _open_store.cache_clear()
        store = Store("s3://")
        store.write(plain_bucket, PARTITION, b"partition")
        event = put_script(
            store,
            SAVES_A_RESULT,
            "planned-script",
            bucket=plain_bucket,
            result_bucket=plain_bucket,
            data_bucket=plain_bucket,
            data_paths=(PARTITION,),
            data_etags=(store.head(plain_bucket, PARTITION).etag,),
            result_path=f"results/{uuid.uuid4().hex[:8]}",
        )
        proxy.refuse = refuse

        def run(looks):
            missing[0] = looks
            return lambda_handler(event.to_wire(), LocalContext())

        yield run, missing
    _open_store.cache_clear()


def test_a_script_rank_waits_for_a_partition_not_yet_visible(rank):
    run, missing = rank
    reply = run(3)
    assert missing == [0]
    assert reply["worker"] == WORKER, "script ranks name their process as engine ranks do"


def test_a_script_rank_whose_partition_stays_away_fails_by_name(rank):
    run, _ = rank
    with pytest.raises(BadPartition, match=rf"{PARTITION} is gone"):
        run(99)

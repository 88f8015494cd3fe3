"""Keys that live some seconds, behind an endpoint that refuses older ones: every rank is done all the same."""

import sys
import time
import uuid

import pytest

from flows.run import run
from inference.storage.store import Store
from tests.support.s3_fault_proxy import EXPIRED, s3_fault_proxy
from tests.support.surveys import in_bucket

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
PROCESS = """
import datetime, json, time
now = time.time()
ends = datetime.datetime.fromtimestamp(now + LIFE_S, datetime.timezone.utc)
print(json.dumps({"Version": 1, "AccessKeyId": f"AKID{now:.3f}", "SecretAccessKey": "s", "SessionToken": "t",
                  "Expiration": ends.isoformat()}))
"""


@pytest.fixture
def expiring(life_s, emulator_url, plain_bucket, monkeypatch, tmp_path):
    """A proxy that refuses keys older than `life_s`, and a profile whose keys are made anew when they are asked for."""
    (tmp_path / "keys.py").write_text(PROCESS.replace("LIFE_S", str(life_s)))
    (tmp_path / "config").write_text(
        f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} -S -E {tmp_path / 'keys.py'}\n"
    )
    with s3_fault_proxy(emulator_url) as (proxy, url):
        refused = []

        def refuse(key):
            if time.time() - float(key.removeprefix("AKID") or 0) > life_s:
                refused.append(key)
                return EXPIRED
            return None

        proxy.refuse_key = refuse
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield proxy, refused, plain_bucket


@pytest.mark.parametrize(("life_s", "ranks"), [(2.0, 24), pytest.param(25.0, 500, marks=pytest.mark.soak)])
def test_run_outlives_its_keys_and_every_rank_is_done(expiring, life_s, ranks):
    proxy, refused, bucket = expiring
    began = time.time()
    request = in_bucket(bucket, result_path=f"results/{uuid.uuid4().hex[:8]}", world_size=ranks, file_limit=ranks)
    document = run(request, "s3://", workers=2)
    assert document["ranks_done"] == ranks
    assert time.time() - began > life_s, "the keys with which it began are refused by now"
    assert not refused
    assert len(proxy.seen) > ranks
    assert Store("s3://").head(bucket, f"{request['result_path']}/combined_data.json") is not None

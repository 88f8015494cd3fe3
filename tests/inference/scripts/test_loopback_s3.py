import io
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from inference.errors import RankFailed
from inference.scripts import loopback_s3 as module
from inference.scripts.loopback_s3 import is_needed, loopback_s3
from inference.scripts.run_script import run_script
from inference.storage.store import Store
from inference.worker import LocalContext
from tests.support.staged_scripts import BUCKET, RESULT, local_store, put_data, put_script

# As the replaced system's scripts do: hard-coded names, boto3 without an argument, the result in the data bucket.
READS_AND_WRITES = f"""
import boto3, json, os
s3 = boto3.client("s3")
payload = json.loads(s3.get_object(Bucket="{BUCKET}", Key="payload.json")["Body"].read())
key = payload["data_map"][os.environ["RANK"]]
listed = s3.list_objects_v2(Bucket=payload["data_bucket"], Prefix="survey/")["Contents"]
data = s3.get_object(Bucket=payload["data_bucket"], Key=key)["Body"].read()
record = {{"total_cpu_time (seconds)": 2.0, "sample_persec": 10.0, "bytes": len(data), "listed": len(listed)}}
record["seen"] = {{name: os.environ[name] for name in os.environ if name.startswith("AWS_")}}
s3.put_object(Bucket=payload["data_bucket"], Key="odd name/a.json", Body=b"[]")
result = payload["result_path"] + "/" + os.environ["RANK"] + ".json"
s3.put_object(Bucket=payload["data_bucket"], Key=result, Body=json.dumps(record))
"""


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-person")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return local_store(tmp_path)


def test_a_boto3_script_runs_on_a_folder_store(store, tmp_path):
    keys = put_data(store, tmp_path)
    size = store.head(BUCKET, keys[3]).size
    inode = (tmp_path / "store" / BUCKET / keys[3]).stat().st_ino
    result = run_script(
        store, put_script(store, READS_AND_WRITES, data_paths=(keys[3],)), {"RANK": "3"}, LocalContext()
    )
    assert (result.script_record["bytes"], result.script_record["listed"]) == (size, 4)
    assert store.head(BUCKET, RESULT) is not None
    assert store.read(BUCKET, "odd name/a.json") == b"[]"
    assert (tmp_path / "store" / BUCKET / keys[3]).stat().st_ino == inode
    assert [path.name for path in (tmp_path / "store").iterdir()] == [BUCKET], "no links are left behind"


def test_a_bucket_that_is_written_into_the_script_is_served_too(store, tmp_path):
    """The event knows of one bucket, and the script of another one."""
    put_data(store, tmp_path)
    event = put_script(store, READS_AND_WRITES, bucket="cosmicai2", result_bucket="cosmicai2", data_bucket="cosmicai2")
    with pytest.raises(RankFailed, match="wrote no result"):  # where the event looks; it was written all the same
        run_script(store, event, {"RANK": "3"}, LocalContext())
    assert store.head(BUCKET, RESULT) is not None


def test_objects_that_boto3_moves_in_parts_stay_whole(store, tmp_path, monkeypatch):
    """Beyond 8 MB boto3 asks for ranges of one ETag, and uploads in parts."""
    data = random.Random(0).randbytes(9 * 1024 * 1024)
    store.write(BUCKET, "100MB/1.pt", data)
    event = put_script(store, READS_AND_WRITES)
    monkeypatch.delenv("AWS_PROFILE")
    with loopback_s3(store, event, tmp_path / "none") as environment:
        s3 = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        read = io.BytesIO()
        s3.download_fileobj(Bucket=BUCKET, Key="100MB/1.pt", Fileobj=read)
        s3.upload_fileobj(io.BytesIO(data), BUCKET, "results/large.bin")
    assert read.getvalue() == data == store.read(BUCKET, "results/large.bin")


def test_the_endpoint_is_on_loopback_and_its_keys_are_nobodys(store, tmp_path):
    put_data(store, tmp_path)
    result = run_script(store, put_script(store, READS_AND_WRITES), {"RANK": "3"}, LocalContext())
    seen = result.script_record["seen"]
    assert seen["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert "canary-of-a-person" not in seen.values()
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_what_a_failed_script_wrote_is_kept_as_on_s3(store, tmp_path):
    put_data(store, tmp_path)
    with pytest.raises(RankFailed, match="exit code 1"):
        run_script(store, put_script(store, f"{READS_AND_WRITES}\nraise SystemExit(1)"), {"RANK": "3"}, LocalContext())
    assert store.head(BUCKET, RESULT) is not None


@pytest.mark.parametrize(
    ("text", "environment", "needed"),
    [
        ("import boto3", {}, True),
        ("open_dataset('s3://bucket/key')", {}, True),
        ("numpy.random.default_rng().draws()", {}, False),
        ("import boto3", {"AWS_ENDPOINT_URL_S3": "http://minio:9000"}, False),
    ],
)
def test_a_script_that_asks_for_s3_and_finds_none_needs_an_endpoint(store, tmp_path, text, environment, needed):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/run.py").write_text(text)
    assert is_needed(store, tmp_path / "one", environment) == needed
    assert not is_needed(Store("s3://"), tmp_path / "one", environment)


def test_without_the_server_the_message_says_what_to_install(store, tmp_path, monkeypatch):
    put_data(store, tmp_path)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    for name in ("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    with pytest.raises(RankFailed, match=r"an endpoint of it: pip install 'cosmic-flows\[emulator\]'"):
        run_script(store, put_script(store, READS_AND_WRITES), {"RANK": "3"}, LocalContext())


def test_links_of_a_worker_that_was_killed_are_removed(store, tmp_path):
    put_data(store, tmp_path)
    event = put_script(store, READS_AND_WRITES)
    abandoned, elsewhere, starting = (
        tmp_path / "store" / name
        for name in (f"{module._PREFIX}killed", ".cosmic-s3-another-machine-1", f"{module._PREFIX}starting")
    )
    for folder in (abandoned, elsewhere, starting):
        folder.mkdir()
        (folder / "lock").touch()
        os.utime(folder, (0, 0) if folder != starting else None)
    with loopback_s3(store, event, tmp_path / "none"):
        (held,) = set((tmp_path / "store").glob(".cosmic-s3-*")) - {elsewhere, starting}
        assert held != abandoned
        os.utime(held, (0, 0))
        with loopback_s3(store, event, tmp_path / "none"):  # another worker beside it
            assert held.exists()


def test_the_server_does_not_outlive_its_worker(store, tmp_path):
    put_data(store, tmp_path)
    put_script(store, READS_AND_WRITES)
    program = (
        "import time; from pathlib import Path; from tests.support.staged_scripts import *\n"
        "from inference.scripts.loopback_s3 import *\n"
        f"store = Store({str(tmp_path / 'store')!r})\n"
        "with loopback_s3(store, script_event(store, '/tmp/one/run.py', 'one'), Path('none')) as found:\n"
        "    print(found['AWS_ENDPOINT_URL'], flush=True); time.sleep(60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    port = worker.stdout.readline().strip().rpartition(":")[2]

    def serving():
        found = [path for path in Path("/proc").glob("[0-9]*/environ") if _holds(path, f"GATEWAY_PORT={port}")]
        return bool(found)

    assert serving()
    worker.kill()
    worker.wait()
    worker.stdout.close()
    until = time.monotonic() + 10
    while serving() and time.monotonic() < until:
        time.sleep(0.05)
    assert not serving()


def _holds(path, text):
    try:
        return text.encode() in path.read_bytes().split(b"\0")
    except OSError:
        return False

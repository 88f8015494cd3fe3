"""Staged scripts for tests: our own `Anomaly Detection` folder, and one-line scripts that go wrong."""

import dataclasses
import json
from pathlib import Path

from inference.contract.script import Script
from inference.scripts.run_script import script_hash
from inference.storage.store import Store
from tests.support.surveys import SIZES, write_survey
from tests.support.wire_examples import EVENT

ANOMALY = Path(__file__).parents[1] / "data" / "Anomaly Detection"
NAME = ANOMALY.name
ENTRY = f"/tmp/{NAME}/Inference/inference.py"
BUCKET = "cosmicai-test"
RESULT = "results/test/3.json"
RECORD = {"total_cpu_time (seconds)": 2.0, "sample_persec": 10.0}
WRITES_A_RESULT = f"""
import json, os, pathlib
path = pathlib.Path(os.environ["COSMIC_STORE"]) / os.environ["RESULT_BUCKET"] / os.environ["RESULT_PATH"]
path.mkdir(parents=True, exist_ok=True)
(path / (os.environ["RANK"] + ".json")).write_text(json.dumps({RECORD!r} | {{"seen": dict(os.environ)}}))
"""


def put_folder(store, folder=ANOMALY, name=NAME):
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            store.write(BUCKET, f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def put_data(store, tmp_path, bucket=BUCKET):
    """A survey of four partitions and the plan that scripts read; returns the keys in rank order."""
    write_survey(tmp_path / "survey", suffix=".safetensors")
    keys = [f"survey/{number}.safetensors" for number in range(1, len(SIZES) + 1)]
    for key in keys:
        store.write(bucket, key, tmp_path / key)
    payload = {
        "bucket": bucket,
        "batch_size": 16,
        "result_path": "results/test",
        "data_bucket": bucket,
        "data_map": {str(rank): key for rank, key in enumerate(keys)},
    }
    store.write(bucket, "payload.json", json.dumps(payload).encode())
    return keys


def script_event(store, entry=ENTRY, name=NAME, **changes):
    """An event for the script as it lies in the store now."""
    listing = store.list(changes.get("bucket", BUCKET), name)
    script = Script(folder=name, entry=entry, sha256=script_hash(listing))
    defaults = {"model": "", "model_sha256": "", "graph": None, "data_etags": (), "store": store.root}
    return dataclasses.replace(EVENT, **defaults | {"script": script} | changes)


def put_script(store, text, name="one", **changes):
    """A folder with one script; returns an event that runs it."""
    data = text.encode() if isinstance(text, str) else text
    store.write(changes.get("bucket", BUCKET), f"{name}/run.py", data)
    return script_event(store, f"/tmp/{name}/run.py", name, **changes)


def local_store(tmp_path):
    store = Store(tmp_path / "store")
    store.requests = []
    return store

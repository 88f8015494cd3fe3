"""Every door by which documents and bytes come in from outside: a good one, and what is done with it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from inference import state_machine as functions
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.partitions.access import open_access
from inference.partitions.partition import open_partition, partition_bytes
from inference.rank_results.external import import_external_result
from inference.rank_results.gather import parse_result, read_combined
from inference.rank_results.predictions import Predictions, decode
from inference.runs.plan import events_of, read_request
from inference.scripts.download import parse_index
from inference.storage.lease import Lease
from inference.storage.store import Store
from inference.worker import _reply_to_line
from tasks.aws.execution import failure
from tasks.aws.execution_history import History
from tasks.aws.report_line import parse_report
from tasks.billing.express import express_of
from tasks.combined_data.records import plan_by_name, read_plan, read_records, shortfalls
from tasks.executors.base import result_of
from tasks.invocations.stored import load_executions, load_invocations, transitions_of
from tasks.run_results.summary import rank_table
from tasks.staging.scripts import parse_manifest
from tasks.sweeps.comparison import compare, load_side
from tasks.sweeps.comparison_table import comparison_table
from tasks.sweeps.sweep import Sweep
from tests.support.archived_records import old_record
from tests.support.corruption import harmed_bytes, harmed_json, harmed_text
from tests.support.execution_histories import INLINE
from tests.support.surveys import random_survey, request_of
from tests.support.swept import measured
from tests.support.wire_examples import EVENT, RESULT
from tests.tasks.aws.test_report_line import COLD
from tests.tasks.invocations.test_stored import invocation

BUCKET, PATH = "cosmicai-test", "results/test"


@dataclass(frozen=True)
class Door:
    """A good thing, and what reads it; `enter` is given a scratch folder and bytes."""

    good: object
    enter: Callable[..., object]

    def whole(self):
        """The good thing as bytes."""
        if isinstance(self.good, bytes):
            return self.good
        return (self.good if isinstance(self.good, str) else json.dumps(self.good)).encode()

    def harmed(self, rng):
        """The good thing with something wrong in it."""
        if isinstance(self.good, str):
            return harmed_text(self.good, rng).encode("utf-8", "replace")
        return harmed_bytes(self.good, rng) if isinstance(self.good, bytes) else harmed_json(self.good, rng)


def _lease(store):
    Lease(store, BUCKET, f"{PATH}/l", "me").take()


def _stored(name, read):
    """A reader of `<result_path>/<name>` in a local store."""

    def enter(folder, data):
        path = folder / BUCKET / PATH / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return read(Store(folder))

    return enter


def _filed(name, read):
    def enter(folder, data):
        (folder / name).write_bytes(data)
        return read(folder / name)

    return enter


def _parsed(read):
    """A reader of what another library has parsed; what that refuses does not arrive here."""

    def enter(_, data):
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return read(document)

    return enter


def _plain(read):
    return lambda _, data: read(data)


def _used(result):
    json.dumps(result.to_wire())
    return rank_table([result])


def _records(data):
    records = read_records(data, "combined_data.json")
    return shortfalls(records, plan_by_name(records))


def _cause(data):
    return failure("x", data.decode("utf-8", "replace"))


def _manifest(data):
    return parse_manifest(data, "s")


def _partition(path):
    return _batches(open_partition(path, path.name))


def _executions(store):
    executions = load_executions(store, BUCKET, PATH)
    return transitions_of(executions), express_of(executions, [])


def _side(path):
    side = load_side(str(path), str(path.parent))
    return comparison_table(compare(side, side, 1.1)).to_markdown()


def _batches(partition):
    return [batch.images.sum() for batch in partition.batches(4)]


def _streamed(access):
    def read(store):
        key = f"{PATH}/1.pt"
        return _batches(open_access(store, BUCKET, key, store.head(BUCKET, key), access))

    return read


def _predictions():
    made = Predictions()
    made.add("survey/4.pt", 0, np.zeros(20, np.float32), np.zeros(20))
    return made.encode(EVENT)


PLAN = request_of() | {
    "world_size": 2,
    "data_map": {"0": "survey/1.pt", "1": ["survey/2.pt", "survey/3.pt"]},
    "run_id": "0198c0de",
    "model_key": "models/m.safetensors",
    "model_sha256": "ab" * 32,
    "fingerprints": {"0": "f" * 32, "1": "e" * 32},
    "data_etags": {},
    "notes": [],
}
SCRIPT = {name: value for name, value in request_of().items() if name != "model"} | {
    "script": "/tmp/scripts/a.py",
    "S3_object_name": "scripts",
    "exec_args": "-a b",
}
SWEEP = {
    "name": "batch-size",
    "request": {"bucket": BUCKET, "data_bucket": BUCKET},
    "axes": {"batch_size": [32, 64], "partition_size": "50MB", "data_size": "1GB"},
    "repeats": 2,
}
EXECUTION = {"children": "EXPRESS", "items": {"total": 4, "pending": 0}, "item_seconds": [1.0], "state_transitions": 9}
INVOCATION = {name: value for name, value in asdict(invocation()).items() if name != "result"}
SURVEY = random_survey(6)

DOORS = {
    "request": Door(request_of(partition={"source": "x.pt", "size": "25MB"}), _filed("r.json", RunRequest.load)),
    "request of a script": Door(SCRIPT, _filed("r.json", RunRequest.load)),
    "rank event": Door(EVENT.to_wire(), _parsed(lambda wire: json.dumps(RankEvent.from_wire(wire).to_wire()))),
    "event line": Door(EVENT.to_wire(), _plain(_reply_to_line)),
    "rank result": Door(RESULT.to_wire(), _plain(lambda data: _used(parse_result(data)))),
    "reply": Door(RESULT.to_wire(), _parsed(lambda wire: _used(result_of(wire, EVENT)))),
    "a script's result": Door(
        old_record(4, prefix="survey"),
        _stored("3.json", lambda store: _used(import_external_result(store, EVENT, started_at=1.0, ended_at=2.0))),
    ),
    "combined file": Door([RESULT.to_wire()], _stored("combined_data.json", lambda s: read_combined(s, BUCKET, PATH))),
    "records": Door([old_record(1), RESULT.to_wire()], _plain(_records)),
    "plan": Door(PLAN, _plain(lambda data: read_plan(data, "payload.json"))),
    "payload": Door(PLAN, _stored("payload.json", lambda s: events_of(PLAN, read_request(s, BUCKET, PATH)))),
    "plan of events": Door(PLAN, _parsed(lambda document: events_of(document, RunRequest.read(request_of())))),
    "summary function": Door(
        PLAN, _stored("payload.json", lambda _: functions.summarize({"bucket": BUCKET, "result_path": PATH}, None))
    ),
    "lease": Door({"holder": "me", "expires": 9e9}, _stored("l/00000001.lease", _lease)),
    "invocations": Door(
        [{"fingerprint": "f", "invocation": INVOCATION}],
        _stored("invocations.json", lambda store: load_invocations(store, BUCKET, PATH)),
    ),
    "executions": Door([EXECUTION], _stored("executions.json", _executions)),
    "sweep": Door(SWEEP, _filed("sweep.yaml", Sweep.load)),
    "history": Door(INLINE, _parsed(lambda events: History(events).item_seconds if isinstance(events, list) else None)),
    "cause": Door({"errorMessage": "x", "requestId": "y"}, _plain(_cause)),
    "index of scripts": Door({"a/b": ["s3://", "etag", 1, 2]}, _plain(parse_index)),
    "manifest of scripts": Door({"s/a": {"sha256": "a", "etag": "e", "size": 1}}, _plain(_manifest)),
    "summary": Door(measured(repeats=1)[0].document, _filed("summary.json", _side)),
    "sweep's results": Door({"measurements": [m.to_dict() for m in measured(repeats=2)]}, _filed("sweep.json", _side)),
    "REPORT line": Door(COLD, _plain(lambda data: parse_report(data.decode()))),
    "predictions": Door(_predictions(), _plain(lambda data: decode(data, "predictions.safetensors"))),
    "partition .pt": Door(partition_bytes(*SURVEY, ".pt"), _filed("1.pt", _partition)),
    "partition .safetensors": Door(
        partition_bytes(*SURVEY, ".safetensors"), _plain(lambda data: _batches(open_partition(data, "1.safetensors")))
    ),
    "partition mapped": Door(partition_bytes(*SURVEY, ".pt"), _stored("1.pt", _streamed("memory-map"))),
}

"""Every reader of documents and bytes from outside: a valid input, and the code that reads it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from flows.cli.commands.train import _document
from inference import state_machine as functions
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.errors import CosmicError, RankFailed
from inference.partitions.access import open_access
from inference.partitions.partition import open_partition, partition_bytes
from inference.rank_results.external import import_external_result
from inference.rank_results.gather import parse_result, read_combined
from inference.rank_results.predictions import Predictions, decode
from inference.rank_results.publish_rank import publish_rank_result
from inference.runs.manifest import parse_manifest
from inference.runs.plan import events_of, read_request
from inference.scripts.download import parse_index
from inference.storage.lease import Lease
from inference.storage.store import Store
from inference.worker import _reply_to_line
from tasks.aws.execution import failure
from tasks.aws.execution_history import History
from tasks.aws.report_line import parse_report
from tasks.billing.express import express_of
from tasks.billing.price_book import load_price_book
from tasks.combined_data.records import plan_by_name, read_plan, read_records, shortfalls
from tasks.compare import _last_good
from tasks.executors.base import checked_result
from tasks.invocations.journal import calls_of_killed_runs
from tasks.invocations.stored import beyond_note, load_executions, load_invocations, load_killed, transitions_of
from tasks.photoz.calibration import Calibration
from tasks.photoz.conformal import calibrate
from tasks.run_results.summary import rank_table
from tasks.sweeps.comparison import compare, load_side
from tasks.sweeps.comparison_table import comparison_table
from tasks.sweeps.sweep import Sweep
from tasks.training.recipe import read_recipe
from tests.support.archived_records import old_record
from tests.support.corruption import corrupted_bytes, corrupted_json, corrupted_text
from tests.support.execution_histories import INLINE
from tests.support.survey_readers import SURVEY_FILES
from tests.support.surveys import random_survey, request_of
from tests.support.swept import measured
from tests.support.wire_examples import EVENT, RESULT
from tests.tasks.aws.test_report_line import COLD
from tests.tasks.invocations.test_stored import invocation

BUCKET, PATH = "cosmicai-test", "results/test"


@dataclass(frozen=True)
class Reader:
    """A valid input, and the code that reads it.

    Attributes:
        valid: bytes, text, or a JSON document.
        read: takes a scratch folder and the input's bytes; None stands for a file that is absent.
        refuses: whether damaged JSON raises an error; otherwise it counts as absent.
        ends_in: the error that even the valid input ends in, because nothing else of the run is there.
    """

    valid: object
    read: Callable[..., object]
    refuses: bool = True
    ends_in: type[CosmicError] | None = None

    @property
    def is_json(self):
        """Whether the project itself parses the input as JSON."""
        return not isinstance(self.valid, str | bytes) and not hasattr(self.read, "parsed_elsewhere")

    @property
    def is_file(self):
        """Whether the input lies in a file or an object, which may be absent."""
        return hasattr(self.read, "is_file")

    def encoded(self):
        """The valid input as bytes."""
        if isinstance(self.valid, bytes):
            return self.valid
        return (self.valid if isinstance(self.valid, str) else json.dumps(self.valid)).encode()

    def corrupted(self, rng):
        """The valid input with something wrong in it."""
        if isinstance(self.valid, str):
            return corrupted_text(self.valid, rng).encode("utf-8", "replace")
        return (corrupted_bytes if isinstance(self.valid, bytes) else corrupted_json)(self.valid, rng)


def _lease(store):
    Lease(store, BUCKET, f"{PATH}/l", "me").take(60)


def _stored(name, read):
    """A reader of `<result_path>/<name>` in a local store."""
    return _filed(f"{BUCKET}/{PATH}/{name}", lambda path: read(Store(path.parents[3])))


def _filed(name, read):
    """A reader of a file."""

    def enter(folder, data):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        return read(path)

    enter.is_file = True
    return enter


def _parsed(read):
    """A reader of what another library has parsed; what that refuses does not arrive here."""

    def enter(_, data):
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return read(document)

    enter.parsed_elsewhere = True
    return enter


def _summary_function(store):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSMIC_STORE", store.root)
        return functions.summarize({"bucket": BUCKET, "result_path": PATH}, None)


def _event_line(data):
    """The worker's answer; an error in it is raised, as the executor does."""
    reply = _reply_to_line(data)
    if "errorMessage" in reply:
        raise RankFailed(reply["errorMessage"])
    return reply


def _priced(path):
    return load_price_book(path).tiers("us-east-1", "x86_64")


def _planned(store):
    event = replace(EVENT, store=store.root)
    store.create(BUCKET, f"{PATH}/{event.rank}.json", b"{}")
    return publish_rank_result(store, event, RESULT)


def _plain(read):
    return lambda _, data: read(data)


def _used(result):
    json.dumps(result.to_wire())
    return rank_table([result])


def _records(data):
    records = read_records(data, "combined_data.json")
    return shortfalls(records, plan_by_name(records))


def _bounds(data):
    return Calibration.read(data, "c.json").bounds(np.ones(3), np.ones(3))


def _calibration():
    ramp = np.linspace(0.1, 0.9, 200)
    return json.loads(calibrate(ramp, ramp, 20 * ramp, "ab" * 32, {}).to_json())


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


def _history(events):
    return History(events).item_seconds if isinstance(events, list) else None


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
LEASE = {"holder": "me", "seconds": 60.0, "generation": 3, "committed": 2, "host": "a", "process": "", "token": "t"}
NIGHT = {"created": "2026-01-01", "measurements": [each.to_dict() for each in measured(repeats=2)]}
SURVEY = random_survey(6)
ROOT = Path(__file__).parents[2]
PRICES = json.loads(max((ROOT / "tasks/billing/prices").glob("*.json")).read_bytes())
TRAINING = json.loads((ROOT / "deployments/training/small.json").read_bytes())

READERS = {
    "request": Reader(request_of(partition={"source": "x.pt", "size": "25MB"}), _filed("r.json", RunRequest.load)),
    "request of a script": Reader(SCRIPT, _filed("r.json", RunRequest.load)),
    "rank event": Reader(EVENT.to_wire(), _parsed(lambda wire: json.dumps(RankEvent.from_wire(wire).to_wire()))),
    "event line": Reader(EVENT.to_wire(), _plain(_event_line), ends_in=RankFailed),
    "rank result": Reader(RESULT.to_wire(), _plain(lambda data: _used(parse_result(data)))),
    "reply": Reader(RESULT.to_wire(), _parsed(lambda wire: _used(checked_result(wire, EVENT)))),
    "a script's result": Reader(
        old_record(4, prefix="survey"),
        _stored("3.json", lambda store: _used(import_external_result(store, EVENT, started_at=1.0, ended_at=2.0))),
    ),
    "combined file": Reader(
        [RESULT.to_wire()], _stored("combined_data.json", lambda s: read_combined(s, BUCKET, PATH))
    ),
    "records": Reader([old_record(1), RESULT.to_wire()], _plain(_records)),
    "plan": Reader(PLAN, _plain(lambda data: read_plan(data, "payload.json"))),
    "payload": Reader(PLAN, _stored("payload.json", lambda s: events_of(PLAN, read_request(s, BUCKET, PATH)))),
    "plan of events": Reader(PLAN, _parsed(lambda document: events_of(document, RunRequest.read(request_of())))),
    "summary function": Reader(PLAN, _stored("payload.json", _summary_function), ends_in=RankFailed),
    "plan of a worker": Reader(PLAN, _stored("payload.json", _planned), refuses=False, ends_in=RankFailed),
    "lease": Reader(LEASE, _stored("l/00000001.lease", _lease), refuses=False),
    "invocations": Reader(
        [{"fingerprint": "f", "invocation": INVOCATION}],
        _stored("invocations.json", lambda store: load_invocations(store, BUCKET, PATH)),
    ),
    "journal": Reader(
        {"at": 1.0, "fingerprints": {"0": "f"}, "ended": [INVOCATION], "open": []},
        _filed(
            f"{BUCKET}/{PATH}/.cosmic/journal/00000001-000000.json",
            lambda path: calls_of_killed_runs(Store(path.parents[5]), BUCKET, f"{PATH}/.cosmic/00000002", {0: "f"}, ()),
        ),
    ),
    "killed": Reader([1.8e9], _stored("killed.json", lambda store: beyond_note(load_killed(store, BUCKET, PATH)))),
    "executions": Reader([EXECUTION], _stored("executions.json", _executions)),
    "sweep": Reader(SWEEP, _filed("sweep.yaml", Sweep.load)),
    "history": Reader(INLINE, _parsed(_history)),
    "cause": Reader({"errorMessage": "x", "requestId": "y"}, _plain(_cause), refuses=False),
    "index of scripts": Reader({"a/b": ["s3://", "etag", 1, 2]}, _plain(parse_index), refuses=False),
    "manifest of scripts": Reader({"s/a": {"sha256": "a", "etag": "e", "size": 1}}, _plain(_manifest), refuses=False),
    "summary": Reader(measured(repeats=1)[0].document, _filed("summary.json", _side)),
    "sweep's results": Reader(NIGHT, _filed("sweep.json", _side)),
    "last good night": Reader(
        NIGHT,
        _stored("good.json", lambda store: _last_good(store, BUCKET, f"{PATH}/good.json")),
    ),
    "calibration": Reader(
        _calibration(), _plain(lambda data: Calibration.read(data, "c.json").bounds(*2 * [np.ones(3)]))
    ),
    "price book": Reader(PRICES, _filed("aws-lambda-1.json", _priced)),
    "training recipe": Reader(TRAINING, _filed("recipe.json", lambda path: read_recipe(_document(path)))),
    "REPORT line": Reader(COLD, _plain(lambda data: parse_report(data.decode()))),
    "predictions": Reader(_predictions(), _plain(lambda data: decode(data, "predictions.safetensors"))),
    "partition .pt": Reader(partition_bytes(*SURVEY, ".pt"), _filed("1.pt", _partition)),
    "partition .safetensors": Reader(
        partition_bytes(*SURVEY, ".safetensors"), _plain(lambda data: _batches(open_partition(data, "1.safetensors")))
    ),
    "partition mapped": Reader(partition_bytes(*SURVEY, ".pt"), _stored("1.pt", _streamed("memory-map"))),
    **{name: Reader(valid, _filed("file", read)) for name, (valid, read) in SURVEY_FILES.items()},
}

"""The wire contract, both ways: what a rank's function receives and what it returns.

Upper-case event keys and the keys with units in brackets are the replaced system's (contract, "Rank event" and "Rank
result"); lower-case keys are ours. The legacy figures of a result are derived from the honest ones when it is
written, so that the identities which old analysis scripts rely on hold by construction.
"""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from inference.dataset import BITS_PER_SAMPLE
from inference.errors import BadInput
from inference.fields import checked_as, checked_int, text_of
from inference.keys import checked_bucket, checked_key

MAX_BATCH_SIZE = 65_536  # 1.3 GB of images at once: more than that is a mistake, not a wish
MAX_RANKS = 100_000
SCRIPT_ENGINE = "script"  # what a result calls its engine when a script made it


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that lies in the run's bucket and is run in place of the built-in engine (contract, "Rank event").

    Attributes:
        folder: key of the script's folder, or of its only file (S3_OBJECT_NAME).
        entry: the file to run, written as the old function found it: `/tmp/<key>` (SCRIPT).
        kind: "folder" or "file" (S3_OBJECT_TYPE).
        arguments: of the script, as a shell would take them (EXEC_ARGS).
        sha256: of the folder's listing when the plan was made, "" when not known.
    """

    folder: str
    entry: str
    kind: str = "folder"
    arguments: str = ""
    sha256: str = ""

    @property
    def key(self) -> str:
        """The script's key in the bucket."""
        return self.entry.removeprefix("/tmp/")  # noqa: S108 - the contract's name for the place, no file of ours

    def to_wire(self) -> dict[str, Any]:
        """The event's keys that name a script."""
        wire = {
            "S3_OBJECT_NAME": self.folder,
            "SCRIPT": self.entry,
            "S3_OBJECT_TYPE": self.kind,
            "script_sha256": self.sha256,
        }
        return wire | ({"EXEC_ARGS": self.arguments} if self.arguments else {})

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read and check an event's script.

        Raises:
            BadInput: naming the key that is missing or wrong.
        """
        return cls.checked(
            checked_key(text_of(wire, "S3_OBJECT_NAME"), "S3_OBJECT_NAME"),
            text_of(wire, "SCRIPT"),
            text_of(wire, "S3_OBJECT_TYPE", "folder"),
            text_of(wire, "EXEC_ARGS", ""),
            text_of(wire, "script_sha256", ""),
        )

    @classmethod
    def checked(cls, folder: str, entry: str, kind: str, arguments: str = "", sha256: str = "") -> Self:
        """A script whose entry lies in its folder, and whose arguments are words.

        Raises:
            BadInput: it does not, or the kind is neither "folder" nor "file".
        """
        if kind not in {"folder", "file"}:
            raise BadInput(f"S3_OBJECT_TYPE must be folder or file, not {kind!r:.40}")
        script = cls(folder=folder, entry=entry, kind=kind, arguments=arguments, sha256=sha256)
        key = checked_key(script.key, "SCRIPT")
        if not (key == folder if kind == "file" else key.startswith(f"{folder}/")):
            raise BadInput(f"SCRIPT {entry!r:.80} does not lie in S3_OBJECT_NAME {folder!r:.80}")
        try:
            shlex.split(arguments)
        except ValueError as error:
            raise BadInput(f"EXEC_ARGS cannot be split into words: {error}") from None
        return script


@dataclass(frozen=True, kw_only=True)
class RankEvent:
    """All that a worker needs to know to run one rank.

    Attributes:
        rank: 0 .. world_size - 1.
        bucket: where scripts and models lie (S3_BUCKET).
        result_bucket: where results go; the original's default is `bucket`.
        data_paths: keys of the rank's partitions in `data_bucket`; on the wire DATA_PATH, a string for one, a list for
            several.
        data_etags: ETag of each partition when the plan was made, or empty when not known.
        model: key of the weights in `bucket`; `model_sha256` is their content hash, part of the exported graph's key.
            "" where a script is run.
        script: what is run in place of the built-in engine.
        access: how partitions are read; None for the store's default.
        fingerprint: of everything that the result depends on (`inference.plan`).
        attempt: 1 for the first try.
        store: root of the object store, a folder or `s3://`.
    """

    rank: int
    world_size: int
    bucket: str
    result_bucket: str
    data_bucket: str
    data_prefix: str
    data_paths: tuple[str, ...]
    data_etags: tuple[str, ...] = ()
    result_path: str
    batch_size: int
    model: str = ""
    model_sha256: str = ""
    graph: str | None = None
    script: Script | None = None
    engine: str = "onnxruntime"
    precision: str = "float32"
    access: str | None = None
    fingerprint: str = ""
    attempt: int = 1
    store: str = "s3://"

    def to_wire(self) -> dict[str, Any]:
        """The event as JSON, numbers as the original sent them (ranks as text, the batch size as a number)."""
        what: dict[str, Any] = {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "graph": self.graph,
            "engine": self.engine,
            "precision": self.precision,
            "access": self.access,
        }
        if self.script is not None:
            what = self.script.to_wire()
        return {
            "S3_BUCKET": self.bucket,
            "BUCKET": self.bucket,
            "RESULT_BUCKET": self.result_bucket,
            "WORLD_SIZE": str(self.world_size),
            "RANK": str(self.rank),
            "DATA_BUCKET": self.data_bucket,
            "DATA_PREFIX": self.data_prefix,
            "DATA_PATH": self.data_paths[0] if len(self.data_paths) == 1 else list(self.data_paths),
            "RESULT_PATH": self.result_path,
            "BATCH_SIZE": self.batch_size,
            **what,
            "data_etags": list(self.data_etags),
            "fingerprint": self.fingerprint,
            "attempt": self.attempt,
            "store": self.store,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read and check an event.

        Raises:
            BadInput: naming the key that is missing or wrong.
        """
        if not isinstance(wire, Mapping):
            raise BadInput("the event must be a JSON object")
        world_size = checked_int(wire.get("WORLD_SIZE"), "WORLD_SIZE", 1, MAX_RANKS)
        paths = wire.get("DATA_PATH")
        if isinstance(paths, str):
            paths = [paths]
        if not isinstance(paths, list) or not paths:
            raise BadInput("DATA_PATH must be a key or a list of keys")
        etags = wire.get("data_etags") or []
        if not isinstance(etags, list) or not all(isinstance(etag, str) for etag in etags):
            raise BadInput("data_etags must be a list of text")
        if etags and len(etags) != len(paths):
            raise BadInput("data_etags must have one entry for each DATA_PATH")
        bucket = checked_bucket(text_of(wire, "S3_BUCKET"), "S3_BUCKET")
        graph = wire.get("graph")
        script = Script.from_wire(wire) if wire.get("SCRIPT") else None
        if script is not None and wire.get("model"):
            raise BadInput("the event has both SCRIPT and model: one of them is run")
        return cls(
            rank=checked_int(wire.get("RANK"), "RANK", 0, world_size - 1),
            world_size=world_size,
            bucket=bucket,
            result_bucket=checked_bucket(text_of(wire, "RESULT_BUCKET", bucket), "RESULT_BUCKET"),
            data_bucket=checked_bucket(text_of(wire, "DATA_BUCKET"), "DATA_BUCKET"),
            data_prefix=checked_key(text_of(wire, "DATA_PREFIX"), "DATA_PREFIX"),
            data_paths=tuple(checked_key(path, "DATA_PATH") for path in paths),
            data_etags=tuple(etags),
            result_path=checked_key(text_of(wire, "RESULT_PATH"), "RESULT_PATH"),
            batch_size=checked_int(wire.get("BATCH_SIZE"), "BATCH_SIZE", 1, MAX_BATCH_SIZE),
            model="" if script else checked_key(text_of(wire, "model"), "model"),
            model_sha256="" if script else text_of(wire, "model_sha256"),
            script=script,
            graph=None if graph is None else checked_key(graph, "graph"),
            engine=text_of(wire, "engine", "onnxruntime"),
            precision=text_of(wire, "precision", "float32"),
            access=None if wire.get("access") is None else text_of(wire, "access"),
            fingerprint=text_of(wire, "fingerprint", ""),
            attempt=checked_int(wire.get("attempt", 1), "attempt", 1, 1_000),
            store=text_of(wire, "store", "s3://"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RankResult:
    """What one rank did, as it lies in `<result_path>/<rank>.json`.

    Attributes:
        data_path: the rank's partitions, a key or a list of keys.
        predictions_path: key of the rank's redshifts in the result bucket.
        samples: galaxies predicted; `num_batches` batches of at most `batch_size`.
        started_at, ended_at: seconds since the epoch by the worker's clock, from the handler's entry to this record's
            making.
        wall_*_s, cpu_*_s: wall and CPU seconds of the whole process: `load` the engine (0 when warm), `read` and check
            the partitions, `compute` redshifts, `write` them, and in `total`. `wall_loop_s` is the inference loop,
            reading included.
        peak_rss_mb: high-water mark of the process's resident memory during this rank, in MB of 1,000,000 bytes;
            `idle_rss_mb` before it.
        cold: this process had run no rank before; `request_id` and `worker` say which invocation and which process.
        store_*: requests to the object store, their seconds and bytes, first start and last end (since the epoch);
            memory-mapped reading of a local store makes none. `store_writes` of them wrote, the others read.
        precision_error: largest difference from float32's redshifts, over the first batch that the worker computed in
            a reduced precision; 0 in float32.
        script_record: what a script wrote down itself, under the contract's keys and its own; None from the built-in
            engine. `engine` is then "script", there are no predictions, and what the script did not tell is 0.
    """

    rank: int
    world_size: int
    attempt: int
    fingerprint: str
    data_path: str | list[str]
    result_path: str
    predictions_path: str
    samples: int
    batch_size: int
    num_batches: int
    device: str
    engine: str
    precision: str
    model_sha256: str
    model_mb: float
    started_at: float
    ended_at: float
    wall_load_s: float
    wall_read_s: float
    wall_compute_s: float
    wall_loop_s: float
    wall_write_s: float
    wall_total_s: float
    cpu_load_s: float
    cpu_read_s: float
    cpu_compute_s: float
    cpu_write_s: float
    cpu_total_s: float
    peak_rss_mb: float
    idle_rss_mb: float
    cold: bool
    request_id: str
    worker: str
    memory_limit_mb: int
    store_requests: int
    store_seconds: float
    store_min_s: float
    store_max_s: float
    store_first_at: float
    store_last_at: float
    store_bytes_read: int
    store_bytes_written: int
    store_writes: int
    precision_error: float = 0.0
    script_record: Mapping[str, Any] | None = None

    @property
    def data_paths(self) -> list[str]:
        """The rank's partitions, always as a list."""
        return [self.data_path] if isinstance(self.data_path, str) else list(self.data_path)

    @property
    def bits(self) -> int:
        """Bits of model input (contract, "Data": 164,160 a sample)."""
        return self.samples * BITS_PER_SAMPLE

    def to_wire(self) -> dict[str, Any]:
        """The record as JSON: every legacy key first, then the honest ones.

        `total_cpu_time (seconds)` is the wall time of the inference loop, so that throughput x time = bits of input and
        execution time = time x batch size / samples (contract, "Rank result"). A script's own keys stand in place of
        these.
        """
        loop = max(self.wall_loop_s, 1e-9)
        legacy = {
            "total_cpu_time (seconds)": loop,
            "total_cpu_memory (MB)": self.peak_rss_mb,
            "execution_time (seconds/batch)": loop * self.batch_size / self.samples,
            "throughput_bps": self.bits / loop,
            "sample_persec": self.samples / loop,
            "total_process_memory (MB)": self.peak_rss_mb,
            "library_overhead_memory (MB)": self.idle_rss_mb,
            "total_image_memory (MB)": self.bits / 8e6,
            "total_model_memory (MB)": self.model_mb,
            "s3_num_requests": self.store_requests,
            "s3_total_time": self.store_seconds,
            "s3_avg_time": self.store_seconds / max(self.store_requests, 1),
            "s3_min_time": self.store_min_s,
            "s3_max_time": self.store_max_s,
            "s3_first_request_time": self.store_first_at,
            "s3_last_response_time": self.store_last_at,
        }
        ours = {field.name: getattr(self, field.name) for field in _RECORDED}
        return (legacy if self.script_record is None else dict(self.script_record)) | ours

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read and check a record of ours.

        Raises:
            BadInput: naming the key that is missing or of the wrong kind.
        """
        if not isinstance(wire, Mapping):
            raise BadInput("a rank result must be a JSON object")
        values: dict[str, Any] = {}
        for field in _RECORDED:
            if field.name not in wire and field.default is not dataclasses.MISSING:
                continue  # written before there was such a field
            if field.name not in wire:
                raise BadInput(f"the rank result lacks {field.name}")
            values[field.name] = checked_as(field.name, wire[field.name], field.type)
        if values["engine"] == SCRIPT_ENGINE:
            values["script_record"] = {name: value for name, value in wire.items() if name not in values}
        result = cls(**values)
        if not 0 <= result.rank < result.world_size:
            raise BadInput(f"the rank result names rank {result.rank} of {result.world_size}")
        if result.samples < 1:
            raise BadInput("the rank result counts no samples")
        return result


_RECORDED = tuple(field for field in dataclasses.fields(RankResult) if field.name != "script_record")

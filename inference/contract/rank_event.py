"""The wire contract, both ways: what a rank's function receives and what it returns.

Upper-case event keys and the keys with units in brackets are the replaced system's (contract, "Rank event" and "Rank
result"); lower-case keys are ours. The legacy figures of a result are derived from the honest ones when it is
written, so that the identities which old analysis scripts rely on hold by construction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from inference.contract.messages import Messages
from inference.contract.object_keys import checked_bucket, checked_key, checked_prefix
from inference.contract.script import Script
from inference.contract.validation import checked_int, text_of
from inference.errors import BadInput

MAX_BATCH_SIZE = 65_536  # 1.3 GB of images at once: more than that is a mistake, not a wish
MAX_RANKS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
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
        graph: key of the exported graph in `bucket`, None for an engine that needs none; `graph_sha256` is its content
            hash.
        script: what is run in place of the built-in engine.
        access: how partitions are read; None for the store's default.
        fingerprint: of everything that the result depends on (`inference.runs.plan`).
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
    graph_sha256: str = ""
    script: Script | None = None
    messages: Messages | None = None
    engine: str = "onnxruntime"
    precision: str = "float32"
    access: str | None = None
    fingerprint: str = ""
    attempt: int = 1
    store: str = "s3://"

    def to_wire(self) -> dict[str, Any]:
        """The event as JSON, numbers as the original sent them (ranks as text, the batch size as a number)."""
        workload: dict[str, Any] = {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "graph": self.graph,
            "graph_sha256": self.graph_sha256,
            "engine": self.engine,
            "precision": self.precision,
            "access": self.access,
        }
        if self.script is not None:
            workload = self.script.to_wire()
        if self.messages is not None:
            workload["messages"] = self.messages.to_wire()
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
            **workload,
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
            data_prefix=checked_prefix(text_of(wire, "DATA_PREFIX"), "DATA_PREFIX"),
            data_paths=tuple(checked_key(path, "DATA_PATH") for path in paths),
            data_etags=tuple(etags),
            result_path=checked_key(text_of(wire, "RESULT_PATH"), "RESULT_PATH"),
            batch_size=checked_int(wire.get("BATCH_SIZE"), "BATCH_SIZE", 1, MAX_BATCH_SIZE),
            model="" if script else checked_key(text_of(wire, "model"), "model"),
            model_sha256="" if script else text_of(wire, "model_sha256"),
            script=script,
            messages=Messages.from_wire(wire["messages"]) if script and wire.get("messages") else None,
            graph=None if graph is None else checked_key(graph, "graph"),
            graph_sha256=text_of(wire, "graph_sha256", ""),
            engine=text_of(wire, "engine", "onnxruntime"),
            precision=text_of(wire, "precision", "float32"),
            access=None if wire.get("access") is None else text_of(wire, "access"),
            fingerprint=text_of(wire, "fingerprint", ""),
            attempt=checked_int(wire.get("attempt", 1), "attempt", 1, 1_000),
            store=text_of(wire, "store", "s3://"),
        )

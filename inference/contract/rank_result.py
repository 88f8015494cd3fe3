"""The record that a rank returns and leaves in the store (contract, "Rank result")."""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from inference.contract.sample import BITS_PER_SAMPLE
from inference.contract.script import SCRIPT_ENGINE
from inference.contract.validation import checked_as
from inference.errors import BadInput


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
            reading included; of a script, its whole process.
        peak_rss_mb: high-water mark of the process's resident memory during this rank, in MB of 1,000,000 bytes;
            `idle_rss_mb` before it.
        cold: this process had run no rank before; `request_id` and `worker` say which invocation and which process.
        store_*: requests to the object store, their seconds and bytes, first start and last end (since the epoch);
            memory-mapped reading of a local store makes none. `store_writes` of them wrote, the others read.
        precision_error: largest difference from float32's redshifts, over the first batch that the worker computed in
            a reduced precision; 0 in float32.
        message_wait_s: seconds that a script's rank waited for messages of others.
        instructions: the processor's instructions for vectors and matrices, the widest first, by which onnxruntime and
            torch choose their code when they start; "" of a record that was written before, or of a script.
        bits_per_sample: bits of model input of a galaxy; written where they are not those of five bands of 32 x 32.
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
    message_wait_s: float = 0.0
    instructions: str = ""
    bits_per_sample: int = BITS_PER_SAMPLE
    script_record: Mapping[str, Any] | None = None

    @property
    def data_paths(self) -> list[str]:
        """The rank's partitions, always as a list."""
        return [self.data_path] if isinstance(self.data_path, str) else list(self.data_path)

    @property
    def bits(self) -> int:
        """Bits of model input (contract, "Data": 164,160 a sample of five bands of 32 x 32 pixels)."""
        return self.samples * self.bits_per_sample

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
        if self.bits_per_sample == BITS_PER_SAMPLE:
            del ours["bits_per_sample"]
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
            value = checked_as(field.name, wire[field.name], field.type)
            values[field.name] = sys.intern(value) if field.name in _SHARED and type(value) is str else value
        if values["engine"] == SCRIPT_ENGINE:
            values["script_record"] = {name: value for name, value in wire.items() if name not in values}
        result = cls(**values)
        if not 0 <= result.rank < result.world_size:
            raise BadInput(f"the rank result names rank {result.rank} of {result.world_size}")
        if result.samples < 1:
            raise BadInput("the rank result counts no samples")
        if result.bits_per_sample < 1:
            raise BadInput("the rank result counts no bits of a sample")
        return result


# What is the same for many ranks is kept once: of a hundred thousand ranks' records, a quarter less memory.
_SHARED = {"result_path", "device", "engine", "precision", "model_sha256", "worker", "instructions"}
_RECORDED = tuple(field for field in dataclasses.fields(RankResult) if field.name != "script_record")

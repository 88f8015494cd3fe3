"""Rank results that somebody else wrote: a staged script, or a function of the replaced system.

They carry the contract's keys only ("Rank result"): neither rank nor fingerprint. Stamped with ours they count like
any other; what the record does not tell is 0, never guessed. The time that a script wrote down may be a profiler's sum
(contract, fault 8), so it gives the number of samples, and the rank's time is ours.
"""

import dataclasses
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from inference.contract.json_text import parse_json
from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.script import SCRIPT_ENGINE
from inference.contract.validation import is_number, sanitize_text, shorten
from inference.errors import RankFailed
from inference.rank_results.gather import result_key
from inference.storage.store import Store, StoredObject, request_figures

_TIME, _RATE = "total_cpu_time (seconds)", "sample_persec"
_OURS = {field.name for field in dataclasses.fields(RankResult)}
MEASURED = ("wall_load_s", "wall_compute_s", "cpu_total_s", "peak_rss_mb", "message_wait_s")


def import_external_result(
    store: Store,
    event: RankEvent,
    *,
    started_at: float,
    ended_at: float,
    request_id: str = "",
    memory_limit_mb: int = 0,
    cold: bool = False,
    worker: str = "",
    stale: StoredObject | None = None,
    **measured: float,
) -> RankResult:
    """Take over the result that a script wrote: check it, stamp it, write it where the rank's result belongs.

    Scripts of the replaced system write to the result bucket or, as its own do, to the data bucket, under the same key.

    Args:
        store: the object store; its metered requests are counted in the result.
        event: the rank.
        started_at: seconds since the epoch when the rank was started, with its result not there yet.
        ended_at: when it had ended.
        request_id: of the invocation.
        memory_limit_mb: the function's memory.
        cold: whether its process had run no rank before.
        worker: the process that ran it.
        stale: what lay under the result's key in the data bucket before the script ran; it does not count.
        measured: any of MEASURED, where whoever ran the script measured it.

    Raises:
        RankFailed: there is no result, or it lacks what the contract asks of it; the message says which key.
        StoreError: the store refuses.
    """
    key = result_key(event.result_path, event.rank)
    bucket = _bucket_of(store, event, key, stale)
    record = _record(store.read(bucket, key), event)
    data_path = event.to_wire()["DATA_PATH"]
    loop = _positive(record, _TIME, event.rank)
    samples = round(_positive(record, _RATE, event.rank) * loop)
    if samples < 1:
        raise RankFailed(f"rank {event.rank}: the script's result counts no samples")
    timing: dict[str, Any] = dict.fromkeys(
        ("wall_read_s", "wall_write_s", "cpu_load_s", "cpu_read_s", "cpu_compute_s", "cpu_write_s", "idle_rss_mb"), 0.0
    )
    timing |= {name: float(measured.get(name, 0.0)) for name in MEASURED}
    total = max(ended_at - started_at, 0.0)
    result = RankResult(
        rank=event.rank,
        world_size=event.world_size,
        attempt=event.attempt,
        fingerprint=event.fingerprint,
        data_path=data_path,
        result_path=event.result_path,
        predictions_path="",
        samples=samples,
        batch_size=event.batch_size,
        num_batches=_count(record.get("num_batches"), samples, event.batch_size),
        device=sanitize_text(record.get("device", "unknown"))[:100],
        engine=SCRIPT_ENGINE,
        precision="",
        model_sha256="",
        model_mb=0.0,
        started_at=started_at,
        ended_at=ended_at,
        wall_loop_s=timing["wall_compute_s"] or total,
        wall_total_s=total,
        cold=cold,
        request_id=request_id,
        worker=worker or uuid.uuid4().hex[:12],
        memory_limit_mb=memory_limit_mb,
        **timing,
        **request_figures(store.requests or []),
        script_record={name: value for name, value in record.items() if name not in _OURS},
    )
    store.write(event.result_bucket, key, json.dumps(result.to_wire()).encode())
    return result


def _bucket_of(store: Store, event: RankEvent, key: str, stale: StoredObject | None) -> str:
    if store.head(event.result_bucket, key) is not None:
        return event.result_bucket
    if event.data_bucket != event.result_bucket:
        found = store.head(event.data_bucket, key)
        if found is not None and found != stale:
            return event.data_bucket
    raise RankFailed(f"rank {event.rank}: the script ended well but wrote no result {key}")


def _record(data: bytes, event: RankEvent) -> Mapping[str, Any]:
    """The script's record; some scripts write a list of them, as for each partition or each part of one."""
    rank = event.rank
    document = parse_json(data, f"rank {rank}: the script's result", RankFailed)
    listed = document if isinstance(document, list) else [document]
    if not all(isinstance(record, Mapping) for record in listed):
        raise RankFailed(f"rank {rank}: the script's result is no JSON object")
    if not listed:
        raise RankFailed(f"rank {rank}: the script's result is an empty list")
    whole, several = event.to_wire()["DATA_PATH"], len(listed) > 1
    named = [whole, list(event.data_paths), *(event.data_paths if several else ())]
    for record in listed:
        if record.get("data_path", whole) not in named:
            theirs = shorten(record["data_path"], 80)
            raise RankFailed(f"rank {rank}: the script's result is of {theirs}, not of {shorten(whole, 80)}")
    return _joined(listed, event) if several else dict(listed[0])


def _joined(records: Sequence[Mapping[str, Any]], event: RankEvent) -> dict[str, Any]:
    """One record of all: times and samples added up, and besides what is the same in all of them."""
    rank = event.rank
    seconds = sum(_positive(record, _TIME, rank) for record in records)
    samples = sum(_positive(record, _TIME, rank) * _positive(record, _RATE, rank) for record in records)
    first, *others = records
    same = {name: value for name, value in first.items() if all(record.get(name) == value for record in others)}
    joined = same | {_TIME: seconds, _RATE: samples / seconds, "records": list(records)}
    joined["data_path"] = event.to_wire()["DATA_PATH"]
    counts = [record.get("num_batches") for record in records]
    joined["num_batches"] = sum(counts) if all(type(count) is int for count in counts) else None
    return joined


def _positive(record: Mapping[str, Any], name: str, rank: int) -> float:
    value = record.get(name)
    if value == 0 or not is_number(value, 0):
        fault = "lacks" if name not in record else "has a wrong"
        raise RankFailed(f"rank {rank}: the script's result {fault} {name!r}")
    return float(value)


def _count(value: object, samples: int, batch_size: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    return -(-samples // batch_size)

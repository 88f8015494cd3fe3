"""`lambda_handler`: the one entry point of every executor.

It reads one rank's event, predicts with a warm engine and writes redshifts and result under the run's result path.
Importing this module imports neither torch nor onnxruntime; the event's engine decides.
"""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.sample import BITS_PER_SAMPLE
from inference.contract.validation import shorten
from inference.engines.base import Engine
from inference.engines.columns import REDSHIFT, predict_columns
from inference.engines.load import open_engine, open_graph
from inference.errors import BadPartition, CosmicError
from inference.model.node_copy import place_of_copy, verified_file
from inference.partitions.access import default_access, open_access
from inference.partitions.partition import Partition
from inference.partitions.planned import find_planned
from inference.rank_results.predictions import Predictions
from inference.rank_results.publish_rank import publish_rank_result
from inference.rank_results.publish_summary import end_soon
from inference.resource_usage import WORKER, Stopwatch, peak_memory_mb, reset_peak_memory, vector_instructions
from inference.scripts.run_script import run_script
from inference.storage.store import Store, request_figures

_served = 0


def lambda_handler(event: object, context: Any) -> dict[str, Any]:
    """Run one rank.

    Args:
        event: a rank event (`inference.contract.rank_event.RankEvent`, contract "Rank event").
        context: Lambda's context object; `aws_request_id` and `memory_limit_in_mb` are read, both optional.

    Returns:
        The rank result as JSON; if the rank had been done before under the same fingerprint, that first result.

    Raises:
        BadInput: the event is wrong.
        BadPartition: a partition is; the message names it.
        StoreError: the store refused.
    """
    global _served
    if isinstance(event, Mapping) and event.get("DATA_PATH", "") is None:
        return idle_reply(event)
    rank = RankEvent.from_wire(event)
    cold, _served = _served == 0, _served + 1
    store = _open_store(rank.store)
    store.requests = []
    try:
        if rank.script is not None:
            assert isinstance(event, Mapping)  # noqa: S101 - or it would be no rank's
            return run_script(store, rank, event, context, cold=cold).to_wire()
        return _predicted(store, rank, context, cold=cold).to_wire()
    except CosmicError:
        with suppress(CosmicError):
            end_soon(store, rank.bucket, rank.result_path)
        raise


def _predicted(store: Store, rank: RankEvent, context: Any, *, cold: bool) -> RankResult:
    clock = Stopwatch()
    idle_mb = reset_peak_memory()
    with clock.stage("load"):
        engine = _warm_engine(rank.store, rank)
    predictions, bits_per_sample = Predictions(), BITS_PER_SAMPLE
    for path, etag in _partitions(rank):
        with clock.stage("read"):
            partition = _open(store, rank, path, etag)
        if not predictions.parts:
            predictions.magnitude = partition.magnitude_column
            bits_per_sample = 8 * partition.nbytes // len(partition)
        with clock.loop():
            _predict(engine, partition, rank.batch_size, clock, predictions)
    token = f"{rank.attempt}-{uuid.uuid4().hex[:8]}"
    predictions_path = f"{rank.result_path}/predictions/{rank.rank}.{token}.safetensors"
    with clock.stage("write"):
        store.write(rank.result_bucket, predictions_path, predictions.encode(rank))
    timing: dict[str, Any] = clock.seconds()
    result = RankResult(
        rank=rank.rank,
        world_size=rank.world_size,
        attempt=rank.attempt,
        fingerprint=rank.fingerprint,
        data_path=rank.data_paths[0] if len(rank.data_paths) == 1 else list(rank.data_paths),
        result_path=rank.result_path,
        predictions_path=predictions_path,
        samples=predictions.samples,
        batch_size=rank.batch_size,
        num_batches=len(predictions.parts),
        bits_per_sample=bits_per_sample,
        device=engine.device,
        engine=engine.name,
        precision=engine.precision,
        precision_error=engine.precision_error,
        instructions=vector_instructions(),
        model_sha256=rank.model_sha256,
        model_mb=_model_size(store, rank) / 1e6,
        started_at=clock.started_at,
        ended_at=time.time(),
        **timing,
        peak_rss_mb=max(peak_memory_mb(), idle_mb),  # the kernel counts the two apart, and the peak may lag
        idle_rss_mb=idle_mb,
        cold=cold,
        request_id=str(getattr(context, "aws_request_id", "")),
        worker=WORKER,
        memory_limit_mb=int(getattr(context, "memory_limit_in_mb", 0)),
        **request_figures(store.requests or []),
        script_record=None,
    )
    return publish_rank_result(store, rank, result)


def idle_reply(event: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to an event without a partition: plans of the replaced system have some (contract, "Rank assignment").

    >>> idle_reply({"RANK": "7", "WORLD_SIZE": "8", "DATA_PATH": None})
    {'statusCode': 200, 'body': 'rank 7 of 8 has no partition and nothing to do'}
    """
    rank, world_size = (shorten(str(event.get(name, "?")), 20).strip("'") for name in ("RANK", "WORLD_SIZE"))
    return {"statusCode": 200, "body": f"rank {rank} of {world_size} has no partition and nothing to do"}


def _partitions(rank: RankEvent) -> Iterator[tuple[str, str]]:
    yield from zip(rank.data_paths, rank.data_etags or [""] * len(rank.data_paths), strict=True)


def _open(store: Store, rank: RankEvent, path: str, etag: str) -> Partition:
    stored = find_planned(store, rank, path, etag)
    return open_access(store, rank.data_bucket, path, stored, rank.access or default_access(store))


def _predict(
    engine: Engine,
    partition: Partition,
    batch_size: int,
    clock: Stopwatch,
    predictions: Predictions,
) -> None:
    batches = partition.batches(batch_size)
    while True:
        with clock.stage("read"):
            batch = next(batches, None)
        if batch is None:
            return
        with clock.stage("compute"):
            columns = predict_columns(engine, batch.images, batch.magnitudes)
        redshifts = columns.pop(REDSHIFT)
        if not np.isfinite(redshifts).all():
            sample = batch.start + int(np.flatnonzero(~np.isfinite(redshifts))[0])
            raise BadPartition(f"{partition.name}: the model gives no finite redshift for sample {sample}")
        magnitude = batch.magnitudes[:, partition.reference_band]
        predictions.add(partition.name, batch.start, redshifts, batch.redshifts, magnitude, columns)


@lru_cache(maxsize=4)
def _open_store(root: str) -> Store:
    return Store(root)


def _warm_engine(store: str, rank: RankEvent) -> Engine:
    weights = (rank.bucket, rank.model, rank.model_sha256)
    return _engine(store, *weights, rank.graph, rank.graph_sha256, rank.engine, rank.precision)


@lru_cache(maxsize=2)  # a process serves one model, or two while one is replaced
def _engine(
    root: str, bucket: str, model: str, sha256: str, graph: str | None, graph_sha256: str, engine: str, precision: str
) -> Engine:
    store = _open_store(root)
    if graph is not None:  # all of the model is in it, so the weights stay where they are
        return open_graph(verified_file(store, bucket, graph, graph_sha256), sha256, _threads(), precision)
    return open_engine(engine, verified_file(store, bucket, model, sha256), None, _threads(), precision)


def _threads() -> int:
    """Threads for the engine: what the worker's parent granted, else all cores (0)."""
    return int(os.environ.get("COSMIC_THREADS", "0"))


def _model_size(store: Store, rank: RankEvent) -> int:
    """Bytes of the file that holds the model."""
    key = rank.graph or rank.model
    sha256 = rank.graph_sha256 if rank.graph else rank.model_sha256
    return (store.local_path(rank.bucket, key) or place_of_copy(key, sha256)).stat().st_size

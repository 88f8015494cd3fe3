"""Summarizing 10,000 ranks whose results lie in a store that begins each answer after 20 ms.

What `summarize` does without its Prefect artifact, in a process of its own, for 1,000 ranks and for 10,000, against a
serial loop that reads and decodes the same objects one after the other: that one over a hundred ranks only, since all
would take it seven minutes. The store runs in a process of its own, on the same cores.
"""

import dataclasses
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ratio import Target, quartiles
from benchmarks.support.quiet_machine import alone
from benchmarks.support.slow_s3 import slow_store
from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.rank_results.predictions import Predictions, decode
from inference.storage.store import S3_ROOT, Store

BUCKET, LATENCY_S, OBJECTS = "bench-bucket", 0.02, 64
FEW, MANY, SERIAL, REPEATS = 1_000, 10_000, 100, 3


def _event(rank: int, ranks: int) -> RankEvent:
    return RankEvent(
        rank=rank,
        world_size=ranks,
        bucket=BUCKET,
        result_bucket=BUCKET,
        data_bucket=BUCKET,
        data_prefix="survey",
        data_paths=(f"survey/{rank + 1}.pt",),
        result_path=f"results/{ranks}",
        batch_size=OBJECTS,
        model="models/full.safetensors",
        model_sha256="0" * 64,
        fingerprint=f"{rank:032x}",
    )


def _result(event: RankEvent) -> RankResult:
    values: dict[str, Any] = {
        field.name: {int: 1, float: time.time() / 1e3, bool: False}.get(field.type, "text")  # type: ignore[call-overload]
        for field in dataclasses.fields(RankResult)
    }
    same = {name: getattr(event, name) for name in ("rank", "world_size", "fingerprint", "result_path", "model_sha256")}
    name = f"{event.result_path}/predictions/{event.rank}.1-0a1b2c3d.safetensors"
    own = {"data_path": event.data_paths[0], "predictions_path": name, "samples": OBJECTS, "script_record": None}
    return RankResult(**(values | same | own))


def _prepare(root: Path, ranks: int) -> None:
    rng = np.random.default_rng(0)
    (root / BUCKET / f"results/{ranks}/predictions").mkdir(parents=True)
    for rank in range(ranks):
        event = _event(rank, ranks)
        result, redshifts = _result(event), Predictions()
        z = rng.uniform(0, 0.5, OBJECTS)
        redshifts.add(event.data_paths[0], 0, z, z + 0.01)
        (root / BUCKET / result.predictions_path).write_bytes(redshifts.encode(event))
        (root / BUCKET / event.result_path / f"{rank}.json").write_text(json.dumps(result.to_wire()))


def _ours(ranks: int) -> dict[str, float]:
    """Seconds and memory in MB of summarizing, in the process that calls it."""
    from inference.rank_results.gather import gather, write_combined
    from tasks.run_results.predictions_table import write_predictions
    from tasks.run_results.summary import rank_table

    store = Store(S3_ROOT)
    events = [_event(rank, ranks) for rank in range(ranks)]
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = gather(store, events)
    assert len(found.results) == ranks
    write_combined(store, BUCKET, f"results/{ranks}", found)
    objects = write_predictions(store, BUCKET, found.results, f"results/{ranks}/predictions.parquet")
    assert len(rank_table(found.results)) == ranks
    assert len(objects) == ranks * OBJECTS
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"ranks": ranks, "s": seconds, "rss_before_mb": before / 1e3, "rss_peak_mb": after / 1e3}


def _serial(ranks: int) -> float:
    """Seconds a rank of reading what the summary reads, one request after the other."""
    from inference.rank_results.gather import parse_result

    store = Store(S3_ROOT)
    start = time.perf_counter()
    for rank in range(SERIAL):
        result = parse_result(store.read(BUCKET, f"results/{ranks}/{rank}.json"))
        decode(store.read(BUCKET, result.predictions_path), result.predictions_path)
    return (time.perf_counter() - start) / SERIAL


def measure() -> dict[str, Any]:
    """How many times faster than a serial loop, and what memory ten times the ranks take."""
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        for ranks in (FEW, MANY):
            _prepare(Path(folder), ranks)
        with slow_store(Path(folder), float("inf"), LATENCY_S):
            rows, ratios, loops = [alone(_ours, FEW)], [], []
            for _ in range(REPEATS):
                loops.append(_serial(MANY))
                rows.append(alone(_ours, MANY))
                ratios.append(loops[-1] * MANY / rows[-1]["s"])
    few, many = rows[0]["rss_peak_mb"], statistics.median(row["rss_peak_mb"] for row in rows[1:])
    a_rank = (many - few) * 1e6 / (MANY - FEW)
    seconds, serial = statistics.median(row["s"] for row in rows[1:]), statistics.median(loops)
    faster = Target(
        what="summarize 10,000 ranks, 20 ms a request: speed",
        **quartiles(ratios),
        to_reach=10.0,
        higher_is_better=True,
        ours=f"{seconds:.1f} s",
        other=f"serial loop, {serial * 1e3:.0f} ms a rank over {SERIAL} ranks: {serial * MANY:.0f} s",
        floor=f"{2 * MANY * LATENCY_S / 64:.1f} s: 20,000 requests, 64 at a time",
    )
    growth = Target(
        what="summarize: peak memory, 10,000 ranks over 1,000",
        ratio=many / few,
        low=min(row["rss_peak_mb"] for row in rows[1:]) / few,
        high=max(row["rss_peak_mb"] for row in rows[1:]) / few,
        to_reach=1.5,
        higher_is_better=False,
        ours=f"{many:.0f} MB, 10,000 ranks",
        other=f"{few:.0f} MB, 1,000 ranks",
        floor=f"{a_rank / 1e3:.1f} kB a rank, {OBJECTS * 12 / 1e3:.1f} of them its {OBJECTS} redshifts",
    )
    return {
        "what": f"gather, combined_data.json, predictions.parquet and the table of ranks, {OBJECTS} objects a rank,"
        f" over HTTP with {LATENCY_S * 1e3:.0f} ms to an answer; each in a process of its own; {REPEATS} turns with"
        f" the serial loop, which is timed over {SERIAL} ranks and counted up",
        "rows": rows,
        "bytes_a_rank": a_rank,
        "targets": [dataclasses.asdict(faster), dataclasses.asdict(growth)],
    }

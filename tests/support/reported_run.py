"""A run to report on: its document, ranks, predictions and bill."""

import numpy as np
import pandas as pd

from tasks.billing.cost import METHODS, compute_cost
from tasks.invocations.invocation import Invocation

METRICS = {
    "mae": 0.0125,
    "mse": 3.4e-4,
    "bias": 0.002,
    "nmad": 0.0115,
    "precision": 0.0116,
    "r2": 0.97,
    "outlier_fraction": 0.004,
    "outlier_fraction_005": 0.02,
    "samples": 5000,
    "unknown": 7,
}


def ranks_of(count, workers=8, start=1.7e9):
    """Ranks on some workers, the first rank of each cold, one in twenty a straggler."""
    rng = np.random.default_rng(3)
    free = np.full(workers, start)
    rows = []
    for rank in range(count):
        worker = int(np.argmin(free))
        load = 0.0 if rank >= workers else 1.4
        compute = rng.normal(6.0, 0.4) * (3.8 if rank % 20 == 19 else 1.0)
        total = load + 0.4 + compute + 0.1
        rows.append(
            {
                "rank": rank,
                "data_path": f"100MB/{rank + 1}.pt",
                "samples": 5113,
                "attempt": 1,
                "started_at": free[worker],
                "ended_at": free[worker] + total,
                "wall_total_s": total,
                "wall_load_s": load,
                "wall_read_s": 0.4,
                "wall_compute_s": compute,
                "wall_write_s": 0.05,
                "cpu_total_s": 1.9 * total,
                "peak_rss_mb": 640.0,
                "cold": rank < workers,
                "worker": f"pid {4000 + worker}",
                "samples_per_s": 5113 / total,
                "resumed": False,
            }
        )
        free[worker] += total
    return pd.DataFrame(rows)


def predictions_of(count):
    """Galaxies with a scatter of 0.0115 and a few outliers."""
    rng = np.random.default_rng(4)
    z_spec = rng.gamma(3.0, 0.045, count)
    z_pred = z_spec + 0.0115 * (1 + z_spec) * rng.normal(size=count)
    z_pred[::250] += 0.3
    return pd.DataFrame({"rank": 0, "file": "100MB/1.pt", "index": range(count), "z_pred": z_pred, "z_spec": z_spec})


def costs_of(ranks, billed_how="measured here, an estimate"):
    """The bill of these ranks by every method."""
    invocations = [
        Invocation(
            rank=row["rank"],
            attempt=1,
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            duration_s=row["wall_total_s"],
            init_s=0.0,
            billed_s=row["wall_total_s"],
            billed_how=billed_how,
            memory_mb=10_240,
            max_memory_mb=row["peak_rss_mb"],
            cold=row["cold"],
            request_id="",
            worker=row["worker"],
        )
        for row in ranks.to_dict("records")
    ]
    return [compute_cost(invocations, method=method) for method in METHODS]


def summary_of(ranks, planned=None, **changes):
    """The run's document."""
    samples = int(ranks["samples"].sum())
    makespan = float(ranks["ended_at"].max() - ranks["started_at"].min()) if len(ranks) else None
    planned = len(ranks) if planned is None else planned
    return {
        "run_id": "0198c0de",
        "created": "2026-11-23T23:31:07+00:00",
        "request": {"bucket": "cosmicai-test", "batch_size": 512},
        "store": "/data/store",
        "result_path": "cosmicai-test/results/test",
        "executor": "local",
        "engine": "onnxruntime",
        "precision": "float32",
        "model": {"key": "models/m.safetensors", "sha256": "ab" * 32},
        "world_size": planned,
        "ranks_planned": planned,
        "ranks_done": len(ranks),
        "ranks_resumed": 0,
        "missing_ranks": [],
        "failed_ranks": [],
        "notes": [],
        "samples": samples,
        "makespan_s": makespan,
        "end_to_end_s": makespan and makespan + 5,
        "samples_per_s": makespan and samples / makespan,
        "throughput_bps": makespan and samples * 164_160 / makespan,
        "throughput_bps_sum_of_ranks": makespan and 7 * samples * 164_160 / makespan,
        "metrics": METRICS,
    } | changes

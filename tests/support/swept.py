"""Sweeps that have been run: measurements with realistic times, of a machine whose constants are written here."""

import math
from itertools import product

import numpy as np

from tasks.sweeps.cells import Measurement

AXES = {
    "batch_size": 128,
    "partition_size": "50MB",
    "data_size": "1GB",
    "world_size": None,
    "memory_mb": 10_240,
    "engine": "onnxruntime",
    "executor": "local",
    "access": None,
    "format": "pt",
}
START = 1.795e9


def document_of(axes, rng, noise=0.03, speed=1.0, workers=None):
    """One run's document: ranks on some workers, with a fixed time a batch and a time a sample."""
    megabytes = float(axes["partition_size"][:-2])
    gigabytes = float((axes["data_size"] or "1GB")[:-2])
    each = int(51.13 * megabytes)
    count = axes["world_size"] or math.ceil(gigabytes * 1024 / megabytes)
    cloud = axes["executor"] != "local"
    slots = workers or (count if cloud else 2)
    free = np.full(slots, START)
    drift = 1 + noise * rng.normal()
    batch = axes["batch_size"]
    rows = []
    for rank in range(count):
        worker = int(np.argmin(free))
        cold = rank < slots
        load = 2.2 if cold and cloud else 0.8 if cold else 0.0
        read = each * (0.00025 if cloud else 0.00006)
        pace = (0.0045 if cloud else 0.0028) * 10_240 / min(axes["memory_mb"], 10_240)
        compute = (each * (pace + 1.6e-6 * max(batch - 128, 0)) + each / batch * 0.02) * drift / speed
        compute *= math.exp(0.02 * rng.normal()) * (3.6 if rank % 40 == 39 else 1.0)
        write, rest = 0.03, 0.05 + 0.02 * rng.random()
        total = load + read + compute + write + rest
        start = free[worker] + 0.2 * rng.random()
        rows.append(
            {
                "rank": rank,
                "data_path": f"{axes['partition_size']}/{rank + 1}.pt",
                "samples": each,
                "attempt": 1,
                "started_at": start,
                "ended_at": start + total,
                "cold": cold,
                "worker": f"worker {worker}",
                "resumed": False,
                "wall_total_s": total,
                "wall_load_s": load,
                "wall_read_s": read,
                "wall_compute_s": compute,
                "wall_write_s": write,
                "cpu_total_s": 1.8 * total,
                "samples_per_s": each / total,
                "peak_rss_mb": 230 + 3.1 * megabytes + 0.9 * batch + rng.random(),
                "billed_s": total,
            }
        )
        free[worker] = start + total
    samples = each * count
    makespan = max(row["ended_at"] for row in rows) - min(row["started_at"] for row in rows)
    usd = sum(row["billed_s"] for row in rows) * axes["memory_mb"] / 1024 * 1.66667e-05 + count * 2e-7
    return {
        "run_id": "0198c0de",
        "executor": axes["executor"],
        "store": "/data/store",
        "created": "2026-11-24T01:02:54+00:00",
        "request": {
            "bucket": "cosmicai-bench",
            "file_limit": count,
            "batch_size": batch,
            "result_path": "results/x/1",
            "data_bucket": "cosmicai-bench",
            "data_prefix": axes["partition_size"],
            "memory_mb": axes["memory_mb"],
        },
        "result_path": "cosmicai-bench/results/x/1",
        "engine": axes["engine"],
        "precision": "float32",
        "model": {"key": "models/full.safetensors", "sha256": "ab" * 32},
        "script": None,
        "world_size": count,
        "ranks_planned": count,
        "ranks_done": count,
        "ranks_resumed": 0,
        "missing_ranks": [],
        "failed_ranks": [],
        "notes": [],
        "samples": samples,
        "makespan_s": makespan,
        "end_to_end_s": makespan + 1.7,
        "samples_per_s": samples / makespan,
        "throughput_bps": samples * 164_160 / makespan,
        "throughput_bps_sum_of_ranks": sum(
            row["samples"] * 164_160 / (row["wall_read_s"] + row["wall_compute_s"]) for row in rows
        ),
        "cold_ranks": sum(row["cold"] for row in rows),
        "metrics": None,
        "cost": {"method": "billed", "usd": usd, "items": [], "estimate": True, "how": "as measured here"},
        "costs": {"billed": usd},
        "report": "report.html",
        "ranks": rows,
    } | ({"cluster": _cluster(rows, slots, makespan)} if axes["executor"] == "dask" else {})


def _cluster(rows, slots, makespan):
    used = sum(row["wall_total_s"] for row in rows)
    seconds = {"core_seconds_allocated": slots * (makespan + 5), "core_seconds_used": used}
    price = {"usd_per_core_hour": 0.04, "usd": seconds["core_seconds_allocated"] / 3600 * 0.04}
    return {"kind": "dask_jobqueue.SLURMCluster", "workers": slots, "nodes": 1} | seconds | price


def measured(repeats=3, noise=0.03, seed=11, speed=1.0, **axes):
    """A sweep over some axes, each a value or a list of values."""
    rng = np.random.default_rng(seed)
    lists = {name: value if isinstance(value, list) else [value] for name, value in (AXES | axes).items()}
    points = [dict(zip(lists, point, strict=True)) for point in product(*lists.values())]
    return [
        Measurement(point, repeat, document_of(point, rng, noise, speed))
        for repeat in range(1, repeats + 1)
        for point in points
    ]


SWEEPS = {
    "batch": {"batch_size": [32, 64, 128, 256, 512]},
    "partition": {"partition_size": ["25MB", "50MB", "75MB", "100MB"], "executor": "lambda"},
    "data": {
        "partition_size": ["25MB", "50MB", "75MB", "100MB"],
        "data_size": ["1GB", "2GB", "4GB", "6GB", "8GB", "10GB", "12.6GB"],
        "executor": "lambda",
    },
    "memory": {"memory_mb": [1769, 3538, 5308, 7076, 10240], "executor": "lambda"},
    "smoke": {"batch_size": [64, 256], "partition_size": ["5MB", "12.5MB"], "data_size": ["1GB", "2GB"]},
    "executors": {"executor": ["local", "lambda"]},
    "single": {},
}

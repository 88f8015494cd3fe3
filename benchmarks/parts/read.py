"""A warm rank on one 25 MB partition in a store that gives 75 MB/s, as a Lambda function's network does.

What is timed is `lambda_handler` on a rank's event, with all that it asks of the store and writes to it: the ways of
access take turns with the two floors under them, fetching alone and computing what is already there. The full-size
model shows a rank that computes longer than it reads, the demo's small one the reverse as far as the machine allows.
The store runs in a process of its own and begins each answer after 20 ms.
"""

import dataclasses
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.table import Table

import inference
from benchmarks.ratio import Target, quartiles
from benchmarks.support.slow_s3 import slow_store
from flows.cli.terminal import show_table
from inference import handler
from inference.contract.rank_event import RankEvent
from inference.contract.sample import samples_of_size
from inference.model.checkpoint import content_hash
from inference.model.config import AstroMAEConfig
from inference.partitions.access import open_access
from inference.partitions.partition import Partition, write_partition
from inference.storage.store import S3_ROOT, Store

BYTES_PER_SECOND, LATENCY_S, BATCH, REPEATS = 75e6, 0.02, 128, 5
BUCKET, KEY = "bench-bucket", "25MB/1.pt"
FLOORS = ("fetching alone", "computing alone")
WAYS = (*FLOORS, "download", "stream")
MODELS = ("full-size", "demo")


def _prepare(root: Path) -> None:
    import torch

    from inference.model.astromae import AstroMAE
    from inference.model.checkpoint import save

    path = root / BUCKET / KEY
    path.parent.mkdir(parents=True)
    samples, rng = samples_of_size("25MB"), np.random.default_rng(0)
    images = rng.normal(size=(samples, 5, 32, 32)).astype(np.float32)
    write_partition(path, images, rng.uniform(15, 22, (samples, 5)), rng.uniform(0, 0.5, samples))
    torch.manual_seed(0)
    save(root / BUCKET / "full-size.safetensors", AstroMAE(AstroMAEConfig()))
    demo = Path(inference.__file__).parent / "weights" / "demo.safetensors"
    (root / BUCKET / "demo.safetensors").write_bytes(demo.read_bytes())


def _event(root: Path, model: str, access: str) -> dict[str, Any]:
    weights = f"{model}.safetensors"
    return RankEvent(
        rank=0,
        world_size=1,
        bucket=BUCKET,
        result_bucket=BUCKET,
        data_bucket=BUCKET,
        data_prefix="25MB",
        data_paths=(KEY,),
        result_path=f"results/{model}/{access}",
        batch_size=BATCH,
        model=weights,
        model_sha256=content_hash(root / BUCKET / weights),
        access=access,
        store=S3_ROOT,
    ).to_wire()


def _open(store: Store, access: str) -> Partition:
    stored = store.head(BUCKET, KEY)
    assert stored is not None
    return open_access(store, BUCKET, KEY, stored, access)


def _seconds(root: Path, model: str, store: Store, ready: Partition, what: str) -> float:
    """Wall seconds of one rank; or of fetching its bytes, or of predicting and writing what is there already."""
    start = time.perf_counter()
    if what == "fetching alone":
        for _ in _open(store, "download").batches(BATCH):
            pass
    elif what == "computing alone":
        with patch.object(handler, "_open", lambda *_: ready):
            handler.lambda_handler(_event(root, model, "download"), None)
    else:
        handler.lambda_handler(_event(root, model, what), None)
    return time.perf_counter() - start


def measure() -> dict[str, Any]:
    """Seconds of each way of access, and their ratio to the slower of the two floors: medians over the turns."""
    rows: list[dict[str, Any]] = []
    targets = []
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        root = Path(folder)
        _prepare(root)
        os.environ["TMPDIR"] = tempfile.tempdir = folder  # the handler keeps weights there
        with slow_store(root, BYTES_PER_SECOND, LATENCY_S) as store:
            ready = _open(store, "download")
            for model in MODELS:
                for way in WAYS:
                    _seconds(root, model, store, ready, way)  # engine, connections and pages are warm now
                taken: dict[str, list[float]] = {way: [] for way in WAYS}
                for turn in range(REPEATS):
                    for way in WAYS if turn % 2 else reversed(WAYS):
                        taken[way].append(_seconds(root, model, store, ready, way))
                floors = [max(pair) for pair in zip(*(taken[way] for way in FLOORS), strict=True)]
                for way, seconds in taken.items():
                    over = quartiles([mine / floor for mine, floor in zip(seconds, floors, strict=True)])
                    rows.append(
                        {"model": model, "way": way, "s": statistics.median(seconds), "over_floor": over["ratio"]}
                    )
                    if way == "stream":
                        targets.append(_target(model, over, {name: statistics.median(s) for name, s in taken.items()}))
    _show(rows)
    return {
        "what": f"lambda_handler on a 25 MB partition ({len(ready)} samples) of a store at"
        f" {BYTES_PER_SECOND / 1e6:.0f} MB/s, {LATENCY_S * 1e3:.0f} ms to the first byte, onnxruntime warm, batches of"
        f" {BATCH}; medians of {REPEATS} interleaved turns; a turn's floor is the slower of fetching alone and of the"
        " same rank with its partition in memory (its requests for writing included)",
        "rows": rows,
        "targets": targets,
    }


def _target(model: str, over: dict[str, float], seconds: dict[str, float]) -> dict[str, Any]:
    return dataclasses.asdict(
        Target(
            what=f"read, {model} model: rank at {BYTES_PER_SECOND / 1e6:.0f} MB/s over max(download, compute)",
            **over,
            to_reach=1.1,
            higher_is_better=False,
            ours=f"{seconds['stream']:.2f} s, streamed",
            other=f"{seconds['download']:.2f} s, downloaded first",
            floor=f"{max(seconds[name] for name in FLOORS):.2f} s: download {seconds[FLOORS[0]]:.2f} s,"
            f" compute {seconds[FLOORS[1]]:.2f} s",
        )
    )


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"one rank at {BYTES_PER_SECOND / 1e6:.0f} MB/s")
    for name in rows[0]:
        table.add_column(name, justify="left" if name in {"model", "way"} else "right")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()))
    show_table(table)

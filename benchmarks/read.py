"""Reading while computing: one 25 MB partition from a store that gives 75 MB/s, as a Lambda function's network does.

The ways of access take turns with the two floors under them: fetching alone, and computing what is already there.
The full-size model shows a rank that computes longer than it reads, the demo's small one the reverse as far as the
machine allows. The store runs in a process of its own and begins each answer after 20 ms.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import inference
from benchmarks.slow_s3 import ENVIRONMENT
from inference.architecture import AstroMAEConfig
from inference.dataset import Partition, samples_of_size, write_partition
from inference.engine import Engine, open_engine
from inference.store import S3_ROOT, Store
from inference.stream import ACCESS, open_access

BYTES_PER_SECOND, LATENCY_S, BATCH, REPEATS = 75e6, 0.02, 128, 5
BUCKET, KEY = "bench-bucket", "25MB/1.pt"
FLOORS = ("fetching alone", "computing alone")


def _prepare(root: Path) -> dict[str, Engine]:
    import torch

    from inference.checkpoint import save
    from inference.model import AstroMAE

    path = root / BUCKET / KEY
    path.parent.mkdir(parents=True)
    samples, rng = samples_of_size("25MB"), np.random.default_rng(0)
    images = rng.normal(size=(samples, 5, 32, 32)).astype(np.float32)
    write_partition(path, images, rng.uniform(15, 22, (samples, 5)), rng.uniform(0, 0.5, samples))
    torch.manual_seed(0)
    full = root / "full.safetensors"
    save(full, AstroMAE(AstroMAEConfig()))
    demo = Path(inference.__file__).parent / "weights" / "demo.safetensors"
    return {name: open_engine("onnxruntime", weights) for name, weights in (("full-size", full), ("demo", demo))}


@contextmanager
def _slow_store(root: Path) -> Iterator[Store]:
    command = [sys.executable, "-m", "benchmarks.slow_s3", str(root), str(BYTES_PER_SECOND), str(LATENCY_S)]
    before = dict(os.environ)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        os.environ |= ENVIRONMENT | {"AWS_ENDPOINT_URL": server.stdout.readline().strip()}
        try:
            yield Store(S3_ROOT)
        finally:
            os.environ.clear()
            os.environ |= before
            server.communicate()


def _open(store: Store, access: str) -> Partition:
    stored = store.head(BUCKET, KEY)
    assert stored is not None
    return open_access(store, BUCKET, KEY, stored, access)


def _seconds(store: Store, engine: Engine, ready: Partition, what: str) -> float:
    """Wall seconds of one rank's reading, its computing, or both."""
    start = time.perf_counter()
    if what == "fetching alone":
        for _ in _open(store, "download").batches(BATCH):
            pass
    else:
        partition = ready if what == "computing alone" else _open(store, what)
        for batch in partition.batches(BATCH):
            engine.predict(batch.images, batch.magnitudes)
    return time.perf_counter() - start


def measure() -> dict[str, Any]:
    """Seconds of each way of access, and their ratio to the slower of the two floors: medians over the turns."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        engines = _prepare(Path(folder))
        with _slow_store(Path(folder)) as store:
            ready = _open(store, "download")
            for model, engine in engines.items():
                ways = FLOORS + ACCESS
                for way in ways:
                    _seconds(store, engine, ready, way)  # connections, pages and the engine's arenas are there now
                taken: dict[str, list[float]] = {way: [] for way in ways}
                for turn in range(REPEATS):
                    for way in ways if turn % 2 else reversed(ways):
                        taken[way].append(_seconds(store, engine, ready, way))
                floors = [max(pair) for pair in zip(*(taken[way] for way in FLOORS), strict=True)]
                for way, seconds in taken.items():
                    over = statistics.median(mine / floor for mine, floor in zip(seconds, floors, strict=True))
                    rows.append({"model": model, "way": way, "s": statistics.median(seconds), "over_floor": over})
    _show(rows)
    over_floor = {way: {row["model"]: row["over_floor"] for row in rows if row["way"] == way} for way in ACCESS}
    return {
        "what": f"a 25 MB partition ({len(ready)} samples) read at {BYTES_PER_SECOND / 1e6:.0f} MB/s,"
        f" {LATENCY_S * 1e3:.0f} ms to the first byte, and computed by onnxruntime in batches of {BATCH};"
        f" medians of {REPEATS} interleaved turns; a turn's floor is the slower of fetching alone and computing alone",
        "rows": rows,
        "stream_over_floor": over_floor["stream"],
        "download_over_floor": over_floor["download"],
    }


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"one rank at {BYTES_PER_SECOND / 1e6:.0f} MB/s")
    for name in rows[0]:
        table.add_column(name, justify="left" if name in {"model", "way"} else "right")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()))
    Console(width=120).print(table)

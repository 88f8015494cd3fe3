"""One run, end to end: the full-size model over 5,112 samples in four 25 MB partitions, with two workers.

The two engines take turns. Weights and images are random: they cost what trained weights and galaxies cost.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from flows.cli.terminal import say, show_table
from inference.contract.sample import samples_of_size
from inference.model.config import AstroMAEConfig
from inference.partitions.partition import write_partition

PARTITIONS, REPEATS, WORKERS, BATCH = 4, 3, 2, 128
ENGINES = ("onnxruntime", "torch")


def _prepare(root: Path) -> None:
    import torch

    from inference.model.astromae import AstroMAE
    from inference.model.checkpoint import save

    torch.manual_seed(0)
    bucket = root / "bench-bucket"
    for folder in ("25MB", "models"):
        (bucket / folder).mkdir(parents=True)
    save(bucket / "models" / "full.safetensors", AstroMAE(AstroMAEConfig()))
    each = samples_of_size("25MB")
    for number in range(1, PARTITIONS + 1):
        rng = np.random.default_rng(number)
        images = rng.normal(size=(each, 5, 32, 32)).astype(np.float32)
        write_partition(
            bucket / "25MB" / f"{number}.pt", images, rng.uniform(15, 22, (each, 5)), rng.uniform(0, 0.5, each)
        )


def _run(root: Path, engine: str) -> dict[str, Any]:
    request = {
        "bucket": "bench-bucket",
        "file_limit": PARTITIONS,
        "batch_size": BATCH,
        "result_path": f"results/{engine}",
        "data_bucket": "bench-bucket",
        "data_prefix": "25MB",
        "model": "models/full.safetensors",
        "engine": engine,
    }
    path = root / f"{engine}.json"
    path.write_text(json.dumps(request))
    cosmic = Path(sys.executable).with_name("cosmic")
    command = [str(cosmic), "run", str(path), "--store", str(root), "--workers", str(WORKERS), "--fresh", "--json"]
    document: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return document


def measure() -> dict[str, Any]:
    """Medians of each engine over the repeats, and their ratio."""
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        root = Path(folder)
        _prepare(root)
        runs = [(engine, _run(root, engine)) for _ in range(REPEATS) for engine in ENGINES]
    rows = []
    for engine in ENGINES:
        mine = [document for name, document in runs if name == engine]
        rows.append(
            {
                "engine": engine,
                "samples": mine[0]["samples"],
                "makespan_s": statistics.median(d["makespan_s"] for d in mine),
                "samples_per_s": statistics.median(d["samples_per_s"] for d in mine),
                "end_to_end_s": statistics.median(d["end_to_end_s"] for d in mine),
                "peak_rss_mb": max(row["peak_rss_mb"] for d in mine for row in d["ranks"]),
                "usd_estimate": statistics.median(d["cost"]["usd"] for d in mine),
            }
        )
    ratio = rows[0]["samples_per_s"] / rows[1]["samples_per_s"]
    _show(rows, ratio)
    return {
        "what": f"full-size model, {PARTITIONS} partitions of 25 MB, {WORKERS} workers, batch {BATCH}; "
        f"medians of {REPEATS} interleaved runs with workers started anew, peak memory the largest of any rank",
        "rows": rows,
        "samples_per_s_onnxruntime_over_torch": ratio,
    }


def _show(rows: list[dict[str, Any]], ratio: float) -> None:
    table = Table(title="one run, full-size model")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "engine" else "right")
    for row in rows:
        table.add_row(*(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    show_table(table)
    say(f"onnxruntime : torch = {ratio:.2f} in samples a second")

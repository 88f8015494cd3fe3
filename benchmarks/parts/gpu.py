"""One GPU: 659,817 samples, data in memory, by the torch engine, beside the floor of moving them there.

Without a CUDA device it says so, and there is no line for the table.
"""

import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.full_size import galaxies, model, seconds
from benchmarks.ratio import NotHere, Target, quartiles
from inference.engines.load import open_engine
from inference.model.checkpoint import save

SAMPLES, TURNS, PUBLISHED_S = 659_817, 3, 140.8
_DISTINCT = 65_536  # repeated to the full set: 13.5 GB of it would take longer to make than to compute


def measure() -> dict[str, Any]:
    """Seconds for the whole set in each precision, and their ratio to the published ones.

    Raises:
        NotHere: there is no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise NotHere("no GPU at hand: torch finds no CUDA device on this machine")
    images, magnitudes, _ = galaxies(_DISTINCT)
    rows, targets = [], []
    pinned = torch.from_numpy(images).pin_memory()
    there = torch.empty_like(pinned, device="cuda")
    copying = [seconds(lambda: _copy(pinned, there)) for _ in range(TURNS)]
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as name:
        weights = Path(name) / "full.safetensors"
        save(weights, model())
        engines = {how: open_engine("torch", weights, precision=how) for how in ("tf32", "bf16")}
    taken: dict[str, list[float]] = {how: [] for how in engines}
    for engine in engines.values():
        engine.predict(images[:4096], magnitudes[:4096])
    for _ in range(TURNS):
        for how, engine in engines.items():
            taken[how].append(seconds(lambda engine=engine: _whole(engine, images, magnitudes)))  # type: ignore[misc]
    for how, engine in engines.items():
        middle = statistics.median(taken[how])
        rows.append({"precision": how, "s": middle, "precision_error": engine.precision_error})
        targets.append(
            Target(
                what=f"one GPU, {SAMPLES:,} samples, {how}, over the published GPU",
                **quartiles([mine / PUBLISHED_S for mine in taken[how]]),
                to_reach=3.0 / PUBLISHED_S,
                higher_is_better=False,
                ours=f"{middle:.2f} s",
                other=f"{PUBLISHED_S} s, published, on another GPU",
                floor=f"host to device, pinned, {statistics.median(copying):.2f} s",
                note=f"largest difference from float32 {engine.precision_error:.1e}",
            )
        )
    what = f"{SAMPLES:,} samples from memory on {torch.cuda.get_device_name()}; medians of {TURNS} interleaved turns"
    return {"what": what, "targets": [dataclasses.asdict(target) for target in targets], "rows": rows}


def _whole(engine: Any, images: np.ndarray, magnitudes: np.ndarray) -> None:
    left = SAMPLES
    while left > 0:
        engine.predict(images[:left], magnitudes[:left])
        left -= len(images)


def _copy(pinned: Any, there: Any) -> None:
    """The whole set's images to the device, and nothing else."""
    import torch

    for _ in range(-(-SAMPLES // len(pinned))):
        there.copy_(pinned, non_blocking=True)
    torch.cuda.synchronize()

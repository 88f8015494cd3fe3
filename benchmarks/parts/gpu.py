"""One GPU: 659,817 samples by the torch engine: computed alone, from host memory, and moved there alone.

Without a CUDA device it says so, and there is no line for the table.
"""

import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.full_size import galaxies, model, seconds
from benchmarks.ratio import NotHere, Target, quartiles
from inference.engines.load import open_engine
from inference.model.checkpoint import load, save

SAMPLES, TURNS, PUBLISHED_S = 659_817, 3, 140.8
_PART = 4096  # galaxies of a pass, as the engine takes them
_DISTINCT = 65_536  # repeated to the full set: 13.5 GB of it would take longer to make than to compute


def measure() -> dict[str, Any]:
    """Seconds for the whole set in each precision, with their ratios to the published ones and to the floor.

    Raises:
        NotHere: there is no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise NotHere("no GPU at hand: torch finds no CUDA device on this machine")
    images, magnitudes, _ = galaxies(_DISTINCT)
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as name:
        weights = Path(name) / "full.safetensors"
        save(weights, model())
        engines = {how: open_engine("torch", weights, precision=how) for how in ("tf32", "bf16")}
        there = _Resident(load(weights).cuda(), images, magnitudes)
    work = {how: partial(_whole, engine.predict, images, magnitudes) for how, engine in engines.items()}
    work |= {"compute": there.compute, "floor": partial(_whole, _Moved(engines["bf16"]), images, magnitudes)}
    taken: dict[str, list[float]] = {what: [] for what in work}
    for engine in engines.values():
        engine.predict(images[:4096], magnitudes[:4096])
    for _ in range(TURNS):
        for what, do in work.items():
            taken[what].append(seconds(do))
    middle = {what: statistics.median(times) for what, times in taken.items()}
    errors = {how: engine.precision_error for how, engine in engines.items()}
    longer = [max(compute, floor) for compute, floor in zip(taken["compute"], taken["floor"], strict=True)]
    targets = [
        _over_published(f"{SAMPLES:,} samples, bf16, computed alone", taken["compute"], 1.0, "data on the device"),
        Target(
            what=f"one GPU, {SAMPLES:,} samples, bf16, from host memory, over computing or moving alone",
            **quartiles([whole / least for whole, least in zip(taken["bf16"], longer, strict=True)]),
            to_reach=1.2,
            higher_is_better=False,
            ours=f"{middle['bf16']:.2f} s",
            other=f"{statistics.median(longer):.2f} s, the longer of both",
            floor=f"moved alone {middle['floor']:.2f} s",
            note=f"largest difference from float32 {errors['bf16']:.1e}",
        ),
        _over_published(
            f"{SAMPLES:,} samples, tf32, from host memory", taken["tf32"], 3.0, f"largest error {errors['tf32']:.1e}"
        ),
    ]
    rows = [{"what": what, "s": time, "precision_error": errors.get(what)} for what, time in middle.items()]
    what = f"{SAMPLES:,} samples on {torch.cuda.get_device_name()}; medians of {TURNS} interleaved turns"
    return {"what": what, "targets": [dataclasses.asdict(target) for target in targets], "rows": rows}


def _over_published(what: str, taken: list[float], goal_s: float, note: str) -> Target:
    return Target(
        what=f"one GPU, {what}, over the published GPU",
        **quartiles([mine / PUBLISHED_S for mine in taken]),
        to_reach=goal_s / PUBLISHED_S,
        higher_is_better=False,
        ours=f"{statistics.median(taken):.2f} s",
        other=f"{PUBLISHED_S} s, published, on another GPU",
        note=note,
    )


class _Resident:
    """Galaxies that are on the device already."""

    def __init__(self, model: Any, images: np.ndarray, magnitudes: np.ndarray) -> None:
        import torch

        from inference.engines.cuda_model import CudaModel

        self._images = torch.from_numpy(images[:_PART]).cuda()
        self._magnitudes = torch.from_numpy(magnitudes[:_PART]).float().cuda()
        self._model = CudaModel(model, _PART)
        with torch.inference_mode():
            self._model(self._images, self._magnitudes)

    def compute(self) -> None:
        """The redshifts of the whole set, part by part."""
        import torch

        with torch.inference_mode():
            for left in range(SAMPLES, 0, -_PART):
                self._model(self._images[:left], self._magnitudes[:left])
        torch.cuda.synchronize()


class _Moved:
    """The engine's transfers with no arithmetic between them: what no engine can go below."""

    def __init__(self, engine: Any) -> None:
        self._transfers = engine._transfers

    def __call__(self, images: np.ndarray, magnitudes: np.ndarray) -> None:
        import torch

        with torch.inference_mode():
            self._transfers.predict(lambda _, there: there[:, :1], images, magnitudes.astype(np.float32))


def _whole(predict: Callable[[np.ndarray, np.ndarray], object], images: np.ndarray, magnitudes: np.ndarray) -> None:
    for left in range(SAMPLES, 0, -len(images)):
        predict(images[:left], magnitudes[:left])

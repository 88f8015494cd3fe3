"""Inference: samples a second of the full-size model, ours and the old function's, with the best GEMM beside them.

The old function's loop runs in this process, with torch imported and weights and data in memory: what starting it
costs is `benchmarks.parts.rank`'s and `benchmarks.parts.cold`'s to tell.
"""

import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts import baseline
from benchmarks.parts.full_size import GFLOP, galaxies, model, seconds
from benchmarks.parts.gemm import BestGemm
from benchmarks.ratio import Target, quartiles
from inference.engines.base import Engine
from inference.engines.load import open_engine
from inference.model.checkpoint import save
from tasks.photoz.metrics import photoz_metrics

SAMPLES, TURNS = 1024, 7
SURVEYS, SURVEY_SAMPLES = (11, 12, 13), 1000
PRECISIONS = ("float32", "int8")


def measure() -> dict[str, Any]:
    """Ratios to the old function and to the best GEMM, and what int8 does to the demo's scatter."""
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as name:
        folder = Path(name)
        save(folder / "full.safetensors", model())
        files = baseline.write(folder, model(), *galaxies(SAMPLES))
        old_model, dataset = map(baseline.load, files)
        engines = {how: open_engine("onnxruntime", folder / "full.safetensors", precision=how) for how in PRECISIONS}
    images, magnitudes, _ = galaxies(SAMPLES)
    difference = _same(baseline.predict(old_model, dataset), engines["float32"].predict(images, magnitudes))
    engines["int8"].predict(images, magnitudes)
    gemm = BestGemm()
    rates: dict[str, list[float]] = {name: [] for name in ("old", *PRECISIONS, "gemm")}
    for turn in range(TURNS):
        turns: list[str] = [*rates]
        for what in turns if turn % 2 else reversed(turns):
            rates[what].append(_rate(what, old_model, dataset, engines, gemm))
    targets = _targets(rates, difference, gemm)
    return {
        "what": f"the full-size model over {SAMPLES:,} samples in batches of 512, data in memory, all cores; medians of"
        f" {TURNS} interleaved turns with quartiles; redshifts differ by at most {difference:.1e}; a GEMM's rate is"
        f" the best of the turn over {GFLOP} GFLOP a sample",
        "targets": [dataclasses.asdict(target) for target in [*targets, _scatter()]],
        "rows": [{"what": what, "samples_per_s": statistics.median(values)} for what, values in rates.items()],
        "gemm_gflops": gemm.rates,
    }


def _same(old: np.ndarray, ours: np.ndarray) -> float:
    difference = float(np.abs(old - ours).max())
    if difference > 1e-5:
        raise RuntimeError(f"the two give other redshifts, by {difference:.1e}: their speeds cannot be compared")
    return difference


def _rate(what: str, old_model: Any, dataset: Any, engines: dict[str, Engine], gemm: BestGemm) -> float:
    """Samples a second."""
    if what == "gemm":
        return gemm.measure() / GFLOP
    if what == "old":
        return SAMPLES / seconds(lambda: baseline.predict(old_model, dataset))
    images, magnitudes, _ = galaxies(SAMPLES)

    def ours() -> None:
        for start in range(0, SAMPLES, 512):
            engines[what].predict(images[start : start + 512], magnitudes[start : start + 512])

    return SAMPLES / seconds(ours)


def _targets(rates: dict[str, list[float]], difference: float, gemm: BestGemm) -> list[Target]:
    middle = {what: statistics.median(values) for what, values in rates.items()}
    best = max(gemm.rates, key=lambda name: gemm.rates[name])
    floor = f"{middle['gemm']:.0f} samples/s at the rate of the best GEMM ({best}: {gemm.rates[best]:.0f} GFLOP/s)"

    def over(what: str, other: str) -> dict[str, float]:
        return quartiles([mine / its for mine, its in zip(rates[what], rates[other], strict=True)])

    def shown(what: str) -> str:
        return f"{middle[what]:.0f} samples/s"

    return [
        Target(
            what="inference, float32, over the old function",
            **over("float32", "old"),
            to_reach=2.3,
            higher_is_better=True,
            ours=shown("float32"),
            other=shown("old"),
            floor=floor,
            note=f"redshifts differ by at most {difference:.1e}",
        ),
        Target(
            what="inference, float32, over the best GEMM",
            **over("float32", "gemm"),
            to_reach=0.8,
            higher_is_better=True,
            ours=shown("float32"),
            other=shown("gemm"),
            floor=floor,
            note="what is left is no GEMM: GELU, norms, softmax, and convolutions of 16 channels",
        ),
        Target(
            what="inference, int8, over the old function",
            **over("int8", "old"),
            to_reach=3.0,
            higher_is_better=True,
            ours=shown("int8"),
            other=shown("old"),
            floor=floor + ", in float32",
            note="opt-in; its cost is the next line",
        ),
    ]


def _scatter() -> Target:
    """The relative change of the demo weights' NMAD in int8, over surveys that they were not trained on."""
    from tasks.simulation.survey import simulate
    from tasks.training.demo_weights import WEIGHTS

    engines = [open_engine("onnxruntime", WEIGHTS, precision=how) for how in PRECISIONS]
    changes, scatters = [], []
    for seed in SURVEYS:
        survey = simulate(SURVEY_SAMPLES, seed=seed)
        both = [
            photoz_metrics(engine.predict(survey.images, survey.magnitudes), survey.redshifts)["nmad"]
            for engine in engines
        ]
        changes.append(abs(both[1] / both[0] - 1))
        scatters.append(both)
    exact, reduced = (statistics.median(column) for column in zip(*scatters, strict=True))
    return Target(
        what="inference, int8, change of the demo's NMAD",
        **quartiles(changes),
        to_reach=0.02,
        higher_is_better=False,
        ours=f"NMAD {reduced:.5f}",
        other=f"NMAD {exact:.5f}",
        note=f"{len(SURVEYS)} surveys of {SURVEY_SAMPLES:,}; largest difference of a redshift"
        f" {engines[1].precision_error:.1e}; no trained full-size model is at hand",
    )

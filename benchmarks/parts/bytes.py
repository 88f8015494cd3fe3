"""How small a partition gets without losing a bit, and what decoding costs; why it is not done: docs/decisions/0011.

Simulated galaxies, 128 to a frame as a rank would read them, by what the standard library has. The floor is the entropy
of the pixels' bytes, each of the four a source of its own; it is given for each, since three of them are noise.
"""

import dataclasses
import lzma
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.ratio import Target, quartiles
from flows.cli.terminal import show_table
from inference.engines.load import open_engine
from inference.model.config import AstroMAEConfig
from tasks.simulation.survey import simulate

SAMPLES, FRAME, SEED, REPEATS = 640, 128, 7, 5
BEST = "byte planes, zlib"  # of those whose decoding is cheap enough


def _planes(images: np.ndarray) -> bytes:
    return images.reshape(-1).view(np.uint8).reshape(-1, 4).T.tobytes()


def _joined(data: bytes) -> np.ndarray:
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(4, -1).T).view(np.float32)


def _flat(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.float32)


Codec = tuple[Callable[[np.ndarray], bytes], Callable[[bytes], np.ndarray]]
CODECS: dict[str, Codec] = {
    "zlib": (lambda images: zlib.compress(images.tobytes(), 6), lambda data: _flat(zlib.decompress(data))),
    BEST: (lambda images: zlib.compress(_planes(images), 6), lambda data: _joined(zlib.decompress(data))),
    "byte planes, lzma": (lambda images: lzma.compress(_planes(images)), lambda data: _joined(lzma.decompress(data))),
}


def entropy(values: np.ndarray) -> float:
    """Of bytes, as a share of 8 bits."""
    share = np.bincount(values, minlength=256) / values.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() / 8)


def measure() -> dict[str, Any]:
    """Sizes over raw, decoding over computing: medians over the turns."""
    import torch

    from inference.model.astromae import AstroMAE
    from inference.model.checkpoint import save

    survey = simulate(SAMPLES, SEED, os.cpu_count())
    images = np.ascontiguousarray(survey.images, np.float32)
    frames = [images[start : start + FRAME] for start in range(0, SAMPLES, FRAME)]
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        torch.manual_seed(0)
        save(Path(folder) / "full.safetensors", AstroMAE(AstroMAEConfig()))
        engine = open_engine("onnxruntime", Path(folder) / "full.safetensors")
    engine.predict(frames[0], survey.magnitudes[:FRAME])
    stored = {name: [encode(frame) for frame in frames] for name, (encode, _) in CODECS.items()}
    computing: list[float] = []
    decoding: dict[str, list[float]] = {name: [] for name in CODECS}
    for _ in range(REPEATS):
        start = time.perf_counter()
        for number, frame in enumerate(frames):
            engine.predict(frame, survey.magnitudes[number * FRAME : (number + 1) * FRAME])
        computing.append(time.perf_counter() - start)
        for name, (_, decode) in CODECS.items():
            start = time.perf_counter()
            back = [decode(data) for data in stored[name]]
            decoding[name].append(time.perf_counter() - start)
            assert np.concatenate(back).tobytes() == images.tobytes()
    rows = [
        {
            "codec": name,
            "size_over_raw": sum(map(len, stored[name])) / images.nbytes,
            "decode_us_a_sample": statistics.median(decoding[name]) / SAMPLES * 1e6,
            "decode_over_compute": statistics.median(d / c for d, c in zip(decoding[name], computing, strict=True)),
        }
        for name in CODECS
    ]
    _show(rows)
    planes = [entropy(images.reshape(-1).view(np.uint8)[byte::4]) for byte in range(4)]
    sizes = [len(data) / frame.nbytes for data, frame in zip(stored[BEST], frames, strict=True)]
    cost = quartiles([d / c for d, c in zip(decoding[BEST], computing, strict=True)])
    us = statistics.median(computing) / SAMPLES * 1e6
    targets = [
        Target(
            what=f"bytes: lossless size over raw float32 ({BEST})",
            **quartiles(sizes),
            to_reach=1.0,
            higher_is_better=False,
            ours=f"{np.mean(sizes) * 20.48:.2f} kB an image",
            other="20.48 kB an image",
            floor=f"{np.mean(planes):.3f}: entropy of the bytes ({', '.join(f'{plane:.3f}' for plane in planes)})",
        ),
        Target(
            what=f"bytes: decoding over inference ({BEST})",
            **cost,
            to_reach=0.05,
            higher_is_better=False,
            ours=f"{cost['ratio'] * us:.0f} us a sample",
            other=f"{us:.0f} us a sample, full-size model",
        ),
    ]
    return {
        "what": f"{SAMPLES} simulated galaxies (seed {SEED}) in frames of {FRAME}; decoding in one thread against the"
        f" full-size model by onnxruntime on all cores, medians of {REPEATS} turns; every codec gives back every bit",
        "rows": rows,
        "entropy_of_bytes_low_to_high": planes,
        "targets": [dataclasses.asdict(target) for target in targets],
    }


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="a partition's pixels, nothing lost")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "codec" else "right")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else value for value in row.values()))
    show_table(table)

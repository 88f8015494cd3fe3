"""The full-size model with random weights, and galaxies of noise: they cost what trained weights and galaxies cost."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from inference.model.config import AstroMAEConfig

GFLOP = 0.219  # a sample's arithmetic, contract, "Model: AstroMAE for redshift"


def model() -> Any:
    """The published architecture; the same weights each time."""
    import torch

    from inference.model.astromae import AstroMAE

    torch.manual_seed(0)
    return AstroMAE(AstroMAEConfig()).eval()


def galaxies(samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, magnitudes and redshifts, the same each time."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(samples, 5, 32, 32)).astype(np.float32)
    return images, rng.uniform(15, 22, (samples, 5)), rng.uniform(0, 0.5, samples)


def staged(folder: Path, samples: int) -> dict[str, Any]:
    """Weights, graph and a partition in a local store, and an event of `lambda_handler` for them, without a rank.

    Args:
        folder: the store's root.
        samples: of the partition.
    """
    from inference.model.checkpoint import content_hash, export_onnx, save
    from inference.partitions.partition import write_partition

    bucket = folder / "bench-bucket"
    (bucket / "data").mkdir(parents=True)
    weights = bucket / "full.safetensors"
    save(weights, model())
    write_partition(bucket / "data" / "1.pt", *galaxies(samples))
    return {
        "S3_BUCKET": bucket.name,
        "DATA_BUCKET": bucket.name,
        "DATA_PREFIX": "data",
        "DATA_PATH": "data/1.pt",
        "WORLD_SIZE": "1",
        "RANK": "0",
        "BATCH_SIZE": 512,
        "model": weights.name,
        "model_sha256": content_hash(weights),
        "graph": export_onnx(weights).name,
        "store": str(folder),
    }


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

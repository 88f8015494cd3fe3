"""A model that has learned nothing: random weights, by which a model of that size is timed.

How long inference takes does not depend on the values of the weights, so that benchmarks need no trained model. A seed
gives the same bytes on every machine, and torch is not needed.
"""

from typing import Any

import numpy as np

from inference.errors import BadInput
from inference.model.checkpoint import checkpoint_bytes
from inference.model.config import AstroMAEConfig
from inference.model.tensor_shapes import BATCH_COUNT, tensor_shapes
from tasks.training.recipe import MODELS

SIZES = {"full": MODELS["published"], "small": MODELS["small"]}
_GAIN = 2.0  # variance of the weights times the inputs of a unit, which a ReLU halves (He et al. 2015, ICCV, 1026)


def new_model(size: str, seed: int) -> bytes:
    """A checkpoint with random weights.

    Args:
        size: "full", the published model with a plain ViT-Tiny encoder, or "small", the demo's.
        seed: of the random numbers; the same seed gives the same bytes.

    Returns:
        The bytes of a `.safetensors` file. Its card says that the model is random and of which seed.

    Raises:
        BadInput: the seed is no whole number from 0 to 2**32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise BadInput(f"seed must be a whole number from 0 to {2**32 - 1}, not {seed}")
    config = SIZES[size]
    return checkpoint_bytes(config, random_tensors(config, seed), header_facts(size, seed))


def header_facts(size: str, seed: int) -> dict[str, Any]:
    """The facts in the header."""
    return {"weights": "random, trained on nothing: for timing, not for redshifts", "size": size, "seed": seed}


def random_tensors(config: AstroMAEConfig, seed: int) -> dict[str, np.ndarray]:
    """Every tensor of a model before its training: norms and biases are neutral, all else is normally distributed."""
    rng = np.random.default_rng(seed)
    return {name: _tensor(name, shape, rng) for name, shape in tensor_shapes(config).items()}


def _tensor(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if name.endswith(BATCH_COUNT):
        return np.zeros(shape, np.int64)
    if len(shape) == 1:
        return np.full(shape, float(name.endswith((".weight", ".running_var"))), np.float32)
    spread = (
        0.02 if name.startswith(("encoder.class_token", "encoder.positions")) else np.sqrt(_GAIN / np.prod(shape[1:]))
    )
    return (spread * rng.standard_normal(shape)).astype(np.float32)

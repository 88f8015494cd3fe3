"""What every engine offers."""

from typing import Protocol

import numpy as np

from inference.errors import BadInput
from inference.model.config import AstroMAEConfig
from inference.model.training_data import TrainingData


class Engine(Protocol):
    """A model ready to predict.

    Attributes:
        name: one of `ENGINES`.
        device: "cpu" or "cuda".
        precision: of its arithmetic.
        precision_error: largest difference from float32's redshifts that was seen.
        config: the model's.
        training_data: what the model was trained on, None where that is not known.
    """

    name: str
    device: str
    precision: str
    precision_error: float
    config: AstroMAEConfig
    training_data: TrainingData | None

    def predict(self, images: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """Redshifts of a batch of any size.

        Args:
            images: (B, bands, image_size, image_size), float32.
            magnitudes: (B, bands), any floating type.

        Returns:
            (B,) redshifts, float32.

        Raises:
            BadInput: other shapes or types.
        """
        ...


def checked(config: AstroMAEConfig, images: np.ndarray, magnitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both inputs as float32, if they are what the model takes.

    Raises:
        BadInput: they are not.
    """
    image = (config.bands, config.image_size, config.image_size)
    if images.ndim != 4 or images.shape[1:] != image or images.dtype != np.float32:
        raise BadInput(f"images must be float32 (B, {', '.join(map(str, image))}), not {images.dtype} {images.shape}")
    if magnitudes.shape != (len(images), config.bands) or magnitudes.dtype.kind != "f":
        raise BadInput(
            f"magnitudes must be floating ({len(images)}, {config.bands}), not {magnitudes.dtype} {magnitudes.shape}"
        )
    return images, magnitudes.astype(np.float32)

"""What every engine offers."""

from typing import Protocol

import numpy as np

from inference.errors import BadInput
from inference.model.training_data import TrainingData


class Engine(Protocol):
    """A model ready to predict.

    Attributes:
        name: one of `ENGINES`.
        device: "cpu" or "cuda".
        precision: of its arithmetic.
        precision_error: largest difference from float32's redshifts that was seen.
        training_data: what the model was trained on, None where that is not known.
        gives_uncertainty: the model says by itself how uncertain its redshifts are.
    """

    name: str
    device: str
    precision: str
    precision_error: float
    training_data: TrainingData | None
    gives_uncertainty: bool

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

    def predict_columns(self, images: np.ndarray, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
        """All that the model says of a batch, `z_pred` among it; (B,) or (B, K) by name."""
        ...


class RedshiftsOnly:
    """An engine whose model gives nothing but redshifts."""

    gives_uncertainty = False

    def predict_columns(self: Engine, images: np.ndarray, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
        """See `Engine`."""
        return {"z_pred": self.predict(images, magnitudes)}


def check_galaxies(
    image_shape: tuple[int, int, int], images: np.ndarray, magnitudes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both inputs as float32, if they are what the model takes.

    Args:
        image_shape: bands, height and width of a cut-out.
        images: (B, *image_shape), float32.
        magnitudes: (B, bands), any floating type.

    Raises:
        BadInput: they are not.
    """
    if images.ndim != 4 or images.shape[1:] != image_shape or images.dtype != np.float32:
        shape = ", ".join(map(str, image_shape))
        raise BadInput(f"images must be float32 (B, {shape}), not {images.dtype} {images.shape}")
    if magnitudes.shape != (len(images), image_shape[0]) or magnitudes.dtype.kind != "f":
        raise BadInput(
            f"magnitudes must be floating ({len(images)}, {image_shape[0]}), not {magnitudes.dtype} {magnitudes.shape}"
        )
    return images, magnitudes.astype(np.float32)

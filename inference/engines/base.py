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
        training_data: what the model was trained on, None where that is not known.
    """

    name: str
    device: str
    precision: str
    precision_error: float
    training_data: TrainingData | None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Bands, height and width of the cut-outs that it takes."""
        ...

    @property
    def gives_uncertainty(self) -> bool:
        """Whether the model says by itself how uncertain its redshifts are."""
        ...

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


class AstroMAEEngine:
    """An engine of an AstroMAE, whose head gives a redshift, or that and the quantiles beside it."""

    config: AstroMAEConfig

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """See `Engine`."""
        return self.config.image_shape

    @property
    def gives_uncertainty(self) -> bool:
        """See `Engine`."""
        return self.config.head == "quantiles"

    def outputs(self, images: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """What the head gives for each galaxy, (B, config.outputs) float32; the redshift is the first."""
        raise NotImplementedError

    def predict(self, images: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        return next(iter(self.predict_columns(images, magnitudes).values()))

    def predict_columns(self, images: np.ndarray, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
        """See `Engine`."""
        found = self.outputs(images, magnitudes).reshape(len(images), self.config.outputs)
        return dict(zip(("z_pred", "z_q16", "z_q84"), found.T, strict=False))


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

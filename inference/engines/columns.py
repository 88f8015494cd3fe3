"""What a model says of each galaxy, as columns: the redshift, what else it gives, and whether it may be believed."""

import numpy as np

from inference.engines.base import Engine

REDSHIFT, ERROR, OUT_OF_DOMAIN = "z_pred", "z_err", "out_of_domain"
LOWER, UPPER = "z_q16", "z_q84"  # quantiles that are as far from the median as a standard deviation


def predict_columns(engine: Engine, images: np.ndarray, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
    """Predict a batch.

    Args:
        engine: any of the project's.
        images: (B, bands, S, S), float32.
        magnitudes: (B, bands), any floating type.

    Returns:
        `z_pred` (B,) float32; `z_err`, its standard deviation, `z_q16` and `z_q84`, its quantiles, and other outputs,
        (B,) or (B, K), where the model has them; `out_of_domain` (B,) boolean where the ranges of its training galaxies
        are known.

    Raises:
        BadInput: other shapes or types.
    """
    columns = engine.predict_columns(images, magnitudes)
    known = engine.training_data
    if known is not None and known.ranges:
        columns[OUT_OF_DOMAIN] = known.out_of_domain(images, magnitudes, columns[REDSHIFT])
    return columns

"""The uncertainty that a model gives by itself: how far below and above its prediction one standard deviation reaches.

Two forms are known: `z_err`, a standard deviation, and `z_q16` with `z_q84`, the 16 % and 84 % quantiles.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.engines.columns import ERROR, LOWER, UPPER

OWN = (ERROR, LOWER, UPPER)  # columns that it comes from


def own_spread(columns: Mapping[str, Any] | Any) -> np.ndarray | None:
    """The model's own uncertainty of each galaxy, below and above its redshift.

    >>> own_spread({"z_pred": np.array([0.2]), "z_err": np.array([0.01])}).tolist()
    [[0.01, 0.01]]

    Args:
        columns: arrays or a table, z_pred among them, (N,) each.

    Returns:
        (N, 2) in redshift, or None where the model gives none; not above 0, or NaN, where it gives none for a galaxy.
    """
    if LOWER in columns and UPPER in columns:
        z_pred, low, high = (np.asarray(columns[name], np.float64) for name in ("z_pred", LOWER, UPPER))
        return np.stack([z_pred - low, high - z_pred], axis=1)
    if ERROR in columns:
        return np.repeat(np.asarray(columns[ERROR], np.float64)[:, None], 2, axis=1)
    return None


def usable(scale: np.ndarray) -> np.ndarray:
    """Which galaxies have a scale, (N,): all its numbers are finite and above 0."""
    whole: np.ndarray = (np.isfinite(scale) & (scale > 0)).all(axis=1)
    return whole


def residuals_of(distances: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Distances from the prediction, (N,), in units of a scale below and above it, (N, 2)."""
    return distances / np.where(distances < 0, scale[:, 0], scale[:, 1])


def widened(residuals: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The distances, (N, K), of which these are the residuals in units of a scale, (N, 2)."""
    return residuals * np.where(residuals < 0, scale[:, :1], scale[:, 1:])

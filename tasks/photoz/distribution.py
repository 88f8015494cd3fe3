"""A distribution that is known by its quantiles: its density, more quantiles, its mode and mean.

Between the quantiles at LEVELS, the cumulative distribution is a monotone cubic (Fritsch & Butland 1984, SIAM J. Sci.
Stat. Comput. 5, 300), whose slope is the density.
"""

import numpy as np

from tasks.photoz.monotone import MonotoneCubic

# Few, so that the slope between two of them, the density, is smooth with some hundred galaxies in a bin.
LEVELS = np.array([0, 0.01, 0.025, 0.1, 0.15865525, 0.3, 0.5, 0.7, 0.84134475, 0.9, 0.975, 0.99, 1])


def density_of(quantiles: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """The density of a bin's residuals, of the shape of `residuals`: the slope of a monotone cubic through LEVELS."""
    density: np.ndarray = np.nan_to_num(np.maximum(MonotoneCubic(quantiles, LEVELS).slope(residuals), 0.0), nan=0.0)
    return density


def subdivided(values: np.ndarray, parts: int = 4) -> np.ndarray:
    """Ascending values with each step divided into equal parts.

    >>> subdivided(np.array([0.0, 1.0, 3.0]), 2).tolist()
    [0.0, 0.5, 1.0, 2.0, 3.0]
    """
    inner = np.linspace(values[:-1], values[1:], parts, endpoint=False).T
    return np.append(inner.ravel(), values[-1])


def inverse(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The residuals at other levels than LEVELS, by the monotone cubic of `density_of`."""
    points = subdivided(quantiles, 200)
    cumulative = np.maximum.accumulate(MonotoneCubic(quantiles, LEVELS)(points))
    found: np.ndarray = np.interp(levels, cumulative, points)
    return found


def halves(quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a bin's residuals below 0 and above it, (2,) each: the mode, the density there, the share of the mean."""
    points = np.unique(np.append(subdivided(quantiles, 200), 0.0))
    density = density_of(quantiles, points)
    whole = np.trapezoid(density, points)
    modes, heights, means = np.zeros(2), np.zeros(2), np.zeros(2)
    for side, part in enumerate((points <= 0, points >= 0)):
        peak = int(density[part].argmax())
        modes[side], heights[side] = points[part][peak], density[part][peak]
        means[side] = np.trapezoid(density[part] * points[part], points[part]) / whole
    return modes, heights, means

"""Bins that hold as many galaxies each, and the quantiles of the residuals in them."""

import numpy as np

from tasks.photoz.distribution import LEVELS

_SMALLEST = 1e-9  # between two quantiles, so that the distribution has a density


def bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the bin of each value, the last one closed; -1 outside or where there is no value."""
    place: np.ndarray = np.searchsorted(edges, values, side="right") - 1
    place[values == edges[-1]] = len(edges) - 2
    found: np.ndarray = np.where((values >= edges[0]) & (values <= edges[-1]), place, -1)
    return found


def deciles(values: np.ndarray) -> list[np.ndarray]:
    """The rows of each tenth of the galaxies, in the order of a quantity."""
    return [part for part in np.array_split(np.argsort(values, kind="stable"), 10) if len(part)]


def binned(
    pred: np.ndarray, residuals: np.ndarray, mag: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Edges in redshift and magnitude, quantiles of the residuals and galaxies of each bin."""
    z_edges = _edges(pred, shape[0])
    z_bin = bin_of(pred, z_edges)
    mag_edges, quantiles, galaxies = [], [], []
    for number in range(len(z_edges) - 1):
        inside = z_bin == number
        edges = _edges(mag[inside] if inside.any() else mag, shape[1])
        edges[0], edges[-1] = mag.min(), max(mag.max(), np.nextafter(mag.min(), np.inf))
        mag_bin = bin_of(mag[inside], edges)
        mag_edges.append(edges)
        parts = [residuals[inside][mag_bin == place] for place in range(len(edges) - 1)]
        quantiles.append([_quantiles(part) for part in parts])
        galaxies.append([len(part) for part in parts])
    return z_edges, np.array(mag_edges), np.array(quantiles), np.array(galaxies)


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Edges of bins that hold as many values each."""
    edges: np.ndarray = np.quantile(values, np.linspace(0, 1, bins + 1))
    for number in range(1, len(edges)):  # equal values would leave a bin without width
        edges[number] = max(edges[number], np.nextafter(edges[number - 1], np.inf))
    return edges


def _quantiles(residuals: np.ndarray) -> np.ndarray:
    steps: np.ndarray = _SMALLEST * np.arange(len(LEVELS))  # so that equal quantiles ascend
    return steps if not len(residuals) else steps + np.quantile(residuals, LEVELS, method="weibull")

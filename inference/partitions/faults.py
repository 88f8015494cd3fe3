"""Galaxies that no model can take: pixels or magnitudes that are not plausible, named."""

from collections.abc import Sequence

import numpy as np

from inference.contract.plausible import MAGNITUDE, PIXEL, Quantity
from inference.contract.sample import BAND_NAMES
from inference.errors import BadPartition


def find_faults(images: np.ndarray, magnitudes: np.ndarray, bands: Sequence[str] = BAND_NAMES) -> dict[int, str]:
    """What is wrong with each galaxy that cannot be used, by its row.

    Args:
        images: (B, 5, ...), nanomaggies.
        magnitudes: (B, 5), AB.
        bands: their names.
    """
    return _faults(PIXEL, images, bands) | _faults(MAGNITUDE, magnitudes, bands)


def check_plausible(
    name: str,
    rows: int | np.ndarray,
    images: np.ndarray | None = None,
    magnitudes: np.ndarray | None = None,
    bands: Sequence[str] = BAND_NAMES,
) -> None:
    """Refuse galaxies that cannot be used.

    Args:
        name: of the partition.
        rows: of each galaxy in the partition, or of the first.
        images: (B, 5, 32, 32), where they are to be checked.
        magnitudes: (B, 5), where they are to be checked.
        bands: their names.

    Raises:
        BadPartition: naming the partition and the first such galaxy.
    """
    for quantity, values in ((PIXEL, images), (MAGNITUDE, magnitudes)):
        faults = {} if values is None else _faults(quantity, values, bands)
        if faults:
            row, why = next(iter(faults.items()))
            sample = rows + row if isinstance(rows, int) else rows[row]
            raise BadPartition(f"{name}: sample {sample} has {why}")


def _faults(quantity: Quantity, values: np.ndarray, bands: Sequence[str]) -> dict[int, str]:
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if quantity is PIXEL and max(quantity.marks) < low and high < quantity.high:
        return {}  # one pass over the pixels, for every batch of every rank
    good = quantity.measured(values)
    found = {}
    for row in np.flatnonzero(~good.reshape(len(values), -1).all(axis=1)).tolist():
        wrong = np.argwhere(~good[row])
        value = float(values[(row, *wrong[0])])
        if not np.isfinite(value):
            found[row] = f"NaN or infinite {quantity.name}s"
        else:
            found[row] = f"an implausible {quantity.name}: {bands[wrong[0][0]]} {quantity.why_not(value)}"
    return found

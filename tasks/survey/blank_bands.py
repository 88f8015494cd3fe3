"""Bands that hold no image of their own: all pixels alike, an edge that was filled up, another band's pixels."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from inference.contract.sample import BAND_NAMES

_FEWEST = 2  # lines of one value along an edge that make a padding; one may be chance where pixels are whole numbers


def find_blank_bands(images: np.ndarray, bands: Sequence[str] = BAND_NAMES) -> dict[int, str]:
    """What is blank in each image that has such a band, by its row.

    >>> images = np.random.default_rng(0).normal(size=(2, 5, 32, 32))
    >>> images[1, 0] = 0
    >>> find_blank_bands(images)
    {1: 'its band u is 0 in every pixel'}

    Args:
        images: (N, bands, S, S), finite.
        bands: their names.
    """
    found: dict[int, str] = {}
    flat = images.reshape(*images.shape[:2], -1)
    constant = flat.min(axis=-1) == flat.max(axis=-1)
    turned = images.swapaxes(2, 3)
    sides = [("row", images), ("row", images[:, :, ::-1]), ("column", turned), ("column", turned[:, :, ::-1])]
    for row, band in np.argwhere(constant).tolist():
        found.setdefault(row, f"its band {bands[band]} is {flat[row, band, 0]:g} in every pixel")
    for kind, side in sides:
        edge = side[:, :, :_FEWEST]
        filled = edge.min(axis=(2, 3)) == edge.max(axis=(2, 3))
        for row, band in np.argwhere(filled & ~constant).tolist():
            value = side[row, band, 0, 0]
            lines = int(np.argmin((side[row, band] == value).all(axis=1)))
            what = "zeros" if value == 0 else f"{value:g}"
            found.setdefault(row, f"its band {bands[band]} has {lines} {kind}s of {what} at an edge")
    middle = images.shape[2] // 2
    for one, other in combinations(range(images.shape[1]), 2):
        alike = (images[:, one, middle] == images[:, other, middle]).all(axis=1)
        for row in np.flatnonzero(alike).tolist():
            if (images[row, one] == images[row, other]).all():
                found.setdefault(row, f"its bands {bands[one]} and {bands[other]} hold the same pixels")
    return found

"""Bands that hold no image: all pixels alike, or an edge that was filled with zeros."""

import numpy as np

from inference.contract.sample import BAND_NAMES

_FEWEST = 2  # lines of zeros along an edge that make a padding; one may be chance where pixels are whole numbers


def find_blank_bands(images: np.ndarray) -> dict[int, str]:
    """What is blank in each image that has such a band, by its row.

    >>> images = np.random.default_rng(0).normal(size=(2, 5, 32, 32))
    >>> images[1, 0] = 0
    >>> find_blank_bands(images)
    {1: 'its band u is 0 in every pixel'}

    Args:
        images: (N, 5, S, S), finite.
    """
    found: dict[int, str] = {}
    flat = images.reshape(*images.shape[:2], -1)
    constant = flat.min(axis=-1) == flat.max(axis=-1)
    zero = images == 0
    lines = {"row": zero.all(axis=3), "column": zero.all(axis=2)}
    for row in range(len(images)):
        for band, name in enumerate(BAND_NAMES):
            if constant[row, band]:
                found.setdefault(row, f"its band {name} is {flat[row, band, 0]:g} in every pixel")
            else:
                padding = {kind: _at_an_edge(zeros[row, band]) for kind, zeros in lines.items()}
                kind = max(padding, key=lambda kind: padding[kind])
                if padding[kind] >= _FEWEST:
                    found.setdefault(row, f"its band {name} has {padding[kind]} {kind}s of zeros at an edge")
    return found


def _at_an_edge(zeros: np.ndarray) -> int:
    """How many lines of zeros lie along the longer of the two edges."""
    return max(int(np.argmin(side)) for side in (zeros, zeros[::-1]))

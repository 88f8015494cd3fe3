"""Galaxies in colour, as people look at them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from inference.contract.sample import BAND_NAMES

WEIGHTS = (0.86, 1.0, 1.37)  # of i, r and g in a colour picture: galaxies of middling colour look white
_STRETCH, _SOFTENING = 0.25, 8.0  # brightness up to which the scale is linear, in units of the pixels; Q there


def shown_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """The bands that a picture shows as red, green and blue, or the one that it shows in grey.

    >>> shown_bands("ugriz"), shown_bands(("g", "r", "z")), shown_bands("gr")
    (('i', 'r', 'g'), ('z', 'r', 'g'), ('r',))
    """
    if set("irg") <= set(bands):
        return ("i", "r", "g")
    if len(bands) >= 3:
        return (bands[-1], bands[len(bands) // 2], bands[0])
    return ("r" if "r" in bands else bands[len(bands) // 2],)


def how(bands: Sequence[str] = BAND_NAMES) -> str:
    """How a picture of such galaxies is made, as a clause."""
    shown = shown_bands(bands)
    stretched = "stretched by asinh (Lupton et al. 2004, PASP 116, 133), all alike"
    if len(shown) == 1:
        return f"the band {shown[0]} in grey, {stretched}"
    red, green, blue = shown
    weights = " : ".join(map(str, WEIGHTS))
    return f"{red}, {green} and {blue} as red, green and blue, weighted {weights} and {stretched}"


def draw_colour(axes: Axes, image: np.ndarray, label: str, bands: Sequence[str] = BAND_NAMES, **words: Any) -> None:
    """Draw a cut-out in colour without axes, its label below unless `words` says otherwise.

    Args:
        axes: to draw on.
        image: (bands, S, S), nanomaggies a pixel.
        label: of the galaxy.
        bands: of the image.
        words: of the label, as `Axes.set_title` takes them.
    """
    planes = [image[list(bands).index(band)] for band in shown_bands(bands)]
    layers = 3 * planes if len(planes) == 1 else [w * plane for w, plane in zip(WEIGHTS, planes, strict=True)]
    axes.imshow(lupton(np.stack(layers)), origin="lower", interpolation="nearest")
    axes.set_title(label, **{"y": -0.22, "fontsize": 9} | words)


def lupton(image: np.ndarray) -> np.ndarray:
    """Red, green and blue, (S, S, 3) of bytes, as astropy's `make_lupton_rgb`, which takes half a second to import.

    The mean of the three is stretched by asinh, and each keeps its share of it, so that a colour does not depend on
    brightness (Lupton et al. 2004, PASP 116, 133). The image is (3, S, S), what is shown as red, green and blue.
    """
    light = image.mean(axis=0)
    slope = 0.1 / np.arcsinh(0.1 * _SOFTENING)
    scale = np.where(
        light > 0, slope * np.arcsinh(_SOFTENING / _STRETCH * light) / np.where(light > 0, light, 1.0), 0.0
    )
    scaled = np.clip(scale * image, 0.0, None)
    brightest = scaled.max(axis=0)
    shown: np.ndarray = 255 * (scaled / np.maximum(brightest, 1.0))
    return np.moveaxis(shown.astype(np.uint8), 0, -1)

"""Galaxies in colour, as people look at them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

_BANDS = {"g": 1, "r": 2, "i": 3}  # places in u g r i z
WEIGHTS = (0.86, 1.0, 1.37)  # of i, r and g in a colour picture: galaxies of middling colour look white
HOW = (
    f"i, r and g as red, green and blue, weighted {' : '.join(map(str, WEIGHTS))} and stretched by asinh (Lupton et al."
    " 2004, PASP 116, 133), all alike"
)


def draw_colour(axes: Axes, image: np.ndarray, label: str, **words: Any) -> None:
    """Draw a cut-out in colour without axes, its label below unless `words` says otherwise.

    Args:
        axes: to draw on.
        image: (5, S, S), bands u g r i z, nanomaggies a pixel.
        label: of the galaxy.
        words: of the label, as `Axes.set_title` takes them.
    """
    shown = [weight * image[_BANDS[band]] for weight, band in zip(WEIGHTS, "irg", strict=True)]
    axes.imshow(lupton(np.stack(shown)), origin="lower", interpolation="nearest")
    axes.set_title(label, **{"y": -0.22, "fontsize": 9} | words)


def lupton(image: np.ndarray, stretch: float = 0.25, softening: float = 8.0) -> np.ndarray:
    """Red, green and blue, (S, S, 3) of bytes, as astropy's `make_lupton_rgb`, which takes half a second to import.

    The mean of the three is stretched by asinh, and each keeps its share of it, so that a colour does not depend on
    brightness (Lupton et al. 2004, PASP 116, 133).

    Args:
        image: (3, S, S), what is shown as red, green and blue.
        stretch: brightness up to which the scale is linear, in the image's units.
        softening: Q of the reference.
    """
    light = image.mean(axis=0)
    slope = 0.1 / np.arcsinh(0.1 * softening)
    scale = np.where(light > 0, slope * np.arcsinh(softening / stretch * light) / np.where(light > 0, light, 1.0), 0.0)
    scaled = np.clip(scale * image, 0.0, None)
    brightest = scaled.max(axis=0)
    shown: np.ndarray = 255 * (scaled / np.maximum(brightest, 1.0))
    return np.moveaxis(shown.astype(np.uint8), 0, -1)

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
    from astropy.visualization import make_lupton_rgb

    shown = [weight * image[_BANDS[band]] for weight, band in zip(WEIGHTS, "irg", strict=True)]
    axes.imshow(make_lupton_rgb(*shown, stretch=0.25, Q=8), origin="lower", interpolation="nearest")
    axes.set_title(label, **{"y": -0.22, "fontsize": 9} | words)

"""A galaxy as the camera sees it: a Sersic profile under a Moffat PSF, integrated over pixels.

All is drawn on one Fourier grid of fixed size. What depends on the pixel alone is kept; of a galaxy remain one look-up
of its profile's transform, the PSFs in closed form, and a sum over waves for the pixels of the stamp alone: two small
products of matrices. GalSim's own drawing agrees (the tests compare) and costs several times as much.

Units: fluxes and pixels in nanomaggies, angles in arcseconds, wave numbers in radians an arcsecond.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import galsim
import numpy as np

from tasks.simulation.population import BANDS, Floats, Galaxy, bandpasses

SIDE = 32  # pixels
PIXEL = 0.396  # arcseconds: the SDSS camera

_GRID = 128  # pixels a side while drawing: what wraps around at 51 arcseconds is lost in the noise
_BETA = 2.5  # of the Moffat PSF: its transform has a closed form
# The transform of a round profile of half-light radius 1 is tabulated in log2(k**2): linearly interpolated, it is right
# to 1e-7 of the flux.
_FIRST, _LAST, _A_UNIT = -36.0, 26.0, 512


def render(galaxy: Galaxy, seeing: float, pixel: float = PIXEL, side: int = SIDE, bands: str = BANDS) -> Floats:
    """Draw the galaxy without noise: (bands, side, side), nanomaggies a pixel.

    A sheared Sersic profile, the same in all bands, under a Moffat PSF (beta 2.5) and integrated over pixels.

    Args:
        galaxy: what to draw.
        seeing: FWHM of the PSF in the r band, arcseconds.
        pixel: side of a pixel, arcseconds.
        side: of the cut-out, pixels.
        bands: of the galaxy's fluxes.
    """
    modes = _modes(pixel)
    above, below = _profile(galaxy, modes) * modes.aperture
    parts = np.stack([above + below, above - below])  # even and odd in ky
    seen = _psfs(seeing, modes, bands)[:, None] * parts
    # exp(i (kx x + ky y)), whose real part is summed: even parts meet two cosines, odd ones two sines and i squared.
    along_x, along_y = (pixel * (np.arange(side) - (side - 1) / 2.0 - offset) for offset in galaxy.offset)
    x, y = np.outer(modes.k, along_x), np.outer(along_y, modes.k)
    columns = modes.weights[:, None] * np.stack([np.cos(x), -np.sin(x)])
    stamps = (np.stack([np.cos(y), np.sin(y)]) @ seen @ columns).sum(axis=1)
    drawn: Floats = galaxy.fluxes[:, None, None] * stamps
    return drawn


@lru_cache(maxsize=2)
def seeing_ratios(bands: str = BANDS) -> Floats:
    """Width of the PSF in each band, relative to r: it falls as wavelength^-0.3 (Xin et al. 2018, AJ 156, 222)."""
    wavelengths = np.array([band.effective_wavelength for band in bandpasses(bands)])
    ratios: Floats = (wavelengths / wavelengths[bands.index("r")]) ** -0.3
    return ratios


class _Modes(NamedTuple):
    """The wave numbers that pixels of one size have, and what is the same for all galaxies."""

    k: Floats  # (65,), from 0 to Nyquist's, along either axis
    lengths: Floats  # (65, 65), of the wave vectors, by ky and kx
    products: Floats  # (65, 65), twice kx times ky
    weights: Floats  # (65,), how often each kx stands in the whole plane, over the number of its modes
    aperture: Floats  # (2, 65, 65), the transform of a pixel, where ky is above 0 and where it is below


@lru_cache(maxsize=4)
def _modes(pixel: float) -> _Modes:
    k = np.linspace(0.0, math.pi / pixel, _GRID // 2 + 1)
    weights = np.full(k.shape, 2.0)
    weights[[0, -1]] = 1.0
    sinc = np.sinc(k * pixel / (2.0 * math.pi))
    aperture = np.stack(2 * [np.outer(sinc, sinc)])
    aperture[0, -1] = aperture[1, 0] = 0.0  # each row of the plane once: 0 counts as above, Nyquist's as below
    return _Modes(k, np.hypot(k[:, None], k), 2.0 * np.outer(k, k), weights / _GRID**2, aperture)


def _profile(galaxy: Galaxy, modes: _Modes) -> Floats:
    """The transform of the sheared profile of flux 1, (2, 65, 65): a round one's, at the lengths before the shear."""
    major, minor = galaxy.radius**2 / galaxy.axis_ratio, galaxy.radius**2 * galaxy.axis_ratio
    cos, sin = math.cos(galaxy.angle), math.sin(galaxy.angle)
    along_x, along_y = major * cos**2 + minor * sin**2, major * sin**2 + minor * cos**2
    round_part = along_x * modes.k**2 + along_y * modes.k[:, None] ** 2
    tilt = (major - minor) * cos * sin * modes.products
    squared = np.stack([round_part + tilt, round_part - tilt])
    places = _A_UNIT * (np.log2(np.maximum(squared, 2.0**_FIRST)) - _FIRST)
    cells = places.astype(np.intp)
    values, steps = _tabulated(galaxy.sersic_index)
    transform: Floats = values[cells] + (places - cells) * steps[cells]
    return transform


@lru_cache(maxsize=8)
def _tabulated(sersic_index: float) -> tuple[Floats, Floats]:
    """The transform of a round profile of half-light radius 1, and its steps from place to place."""
    profile = galsim.Sersic(sersic_index, half_light_radius=1.0)
    places = np.linspace(_FIRST, _LAST, round((_LAST - _FIRST) * _A_UNIT) + 1)
    values = np.array([profile.kValue(k, 0.0).real for k in 2.0 ** (places / 2.0)])
    return values[:-1], np.diff(values)


def _psfs(seeing: float, modes: _Modes, bands: str) -> Floats:
    """The transforms of the bands' PSFs, (bands, 65, 65), the same above ky = 0 and below: (1 + k r) exp(-k r)."""
    radii = seeing * seeing_ratios(bands) / (2.0 * math.sqrt(2.0 ** (1.0 / _BETA) - 1.0))
    scaled = radii[:, None, None] * modes.lengths
    falling: Floats = np.exp(-scaled) * (1.0 + scaled)
    return falling

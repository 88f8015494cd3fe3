"""The galaxies of a simulated survey as they are: population, spectra, brightness and size.

A galaxy is a redshift, a spectral type and an absolute magnitude, drawn together from a luminosity function in a
magnitude-limited volume; colours, brightness, size and shape follow from these, and so correlate as in the sky.

Photometry: the templates of Coleman, Wu & Weedman (1980, ApJS 43, 393), mixed between neighbouring types and redshifted
through LSST's filters, without evolution or dust. The fluxes of the templates are tabulated once a process on
a fine grid of redshifts and interpolated: linearly in redshift; in type this is no approximation, since a mixture of
spectra has the mixture of their fluxes.

Units: fluxes in nanomaggies (AB zero point 22.5), angles in arcseconds, distances in megaparsecs for a flat universe
with Omega_m = 0.3 and H0 = 70 km/s/Mpc.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import galsim
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BANDS = "ugriz"  # of the demo's survey
ALL_BANDS = "ugrizy"  # those that can be drawn
TEMPLATES = ("E", "Sbc", "Scd", "Im")  # a galaxy's kind is a place in this row, from 0.0 to 3.0
ZERO_POINT = 22.5  # AB magnitude of one nanomaggie

# Fainter than the SDSS main sample (17.8), about as deep as GAMA: so the redshifts peak near 0.2.
R_LIMITS = (14.0, 20.0)
REDSHIFT_LIMITS = (0.01, 0.6)

_R = BANDS.index("r")
_HUBBLE_DISTANCE, _OMEGA_M = 299_792.458 / 70.0, 0.3
_REDSHIFTS = np.linspace(0.0, REDSHIFT_LIMITS[1], 301)
_KIND_STEP = 0.1
_KINDS = np.arange(0.05, 3.0, _KIND_STEP)
_ABSOLUTE = np.linspace(-25.0, -15.0, 1001)


@dataclass(frozen=True)
class Galaxy:
    """A galaxy as it is, before atmosphere and noise.

    Attributes:
        redshift: within REDSHIFT_LIMITS.
        kind: spectral type, from 0 (E) over 1 (Sbc) and 2 (Scd) to 3 (Im).
        fluxes: (bands,), nanomaggies.
        radius: half-light radius, arcseconds.
        axis_ratio: minor over major axis.
        angle: position angle, radians.
        offset: (x, y) of its centre from the stamp's, pixels.
    """

    redshift: float
    kind: float
    fluxes: Floats
    radius: float
    axis_ratio: float
    angle: float
    offset: tuple[float, float]

    @property
    def sersic_index(self) -> float:
        """4 for ellipticals to 1 for disks; few values, since GalSim tabulates each one anew."""
        return (4.0, 2.5, 1.5)[int(2.0 * self.kind)] if self.kind < 1.5 else 1.0


def draw_galaxy(rng: np.random.Generator, bands: str = BANDS) -> Galaxy:
    """Draw one of the galaxies that R_LIMITS and REDSHIFT_LIMITS let into the survey.

    Axis ratios are those of spheroids seen from anywhere, of a thickness that falls from 0.6 (E) to 0.2 (disks).
    """
    population = _population()
    cell = int(np.searchsorted(population.seen, rng.uniform(0.0, population.seen[-1])))
    row, column = divmod(cell, len(_REDSHIFTS) - 1)
    redshift = rng.uniform(_REDSHIFTS[column], _REDSHIFTS[column + 1])
    kind = _KINDS[row] + _KIND_STEP * rng.uniform(-0.5, 0.5)
    brighter = population.brighter[row]
    absolute = float(np.interp(rng.uniform(*_within_limits(kind, redshift, brighter)), brighter, _ABSOLUTE))
    early = max(0.0, 1.0 - kind)
    thickness = 0.2 + 0.4 * early
    return Galaxy(
        redshift=redshift,
        kind=kind,
        fluxes=fluxes(kind, redshift, absolute, bands),
        radius=_radius(absolute, early, redshift, rng.standard_normal()),
        axis_ratio=math.hypot(thickness, math.sqrt(1.0 - thickness**2) * rng.uniform()),
        angle=rng.uniform(0.0, math.pi),
        offset=(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)),
    )


def fluxes(kind: float, redshift: float, absolute_magnitude: float, bands: str = BANDS) -> Floats:
    """Apparent fluxes, (bands,), nanomaggies.

    Args:
        kind: spectral type, 0 to 3.
        redshift: above 0, up to REDSHIFT_LIMITS[1].
        absolute_magnitude: in the r band as seen at redshift 0.1, which Blanton et al. and Shen et al. use.
        bands: BANDS or ALL_BANDS.
    """
    template = min(int(kind), len(TEMPLATES) - 2)
    column = min(int(redshift / _REDSHIFTS[1]), len(_REDSHIFTS) - 2)
    share = redshift / _REDSHIFTS[1] - column
    tabulated = _template_fluxes(bands)[template : template + 2]
    nearer, farther = tabulated[:, column], tabulated[:, column + 1]
    earlier, later = nearer + share * (farther - nearer)
    modulus = 5.0 * math.log10((1.0 + redshift) * _comoving_distance(redshift)) + 25.0
    scale = 10.0 ** (-0.4 * (absolute_magnitude + modulus - ZERO_POINT))
    mixture: Floats = scale * (earlier + (kind - template) * (later - earlier))
    return mixture


class _Population(NamedTuple):
    seen: Floats  # (kinds x redshift cells,), galaxies within the limits, summed up to and with this cell
    brighter: Floats  # (kinds, _ABSOLUTE), galaxies of this kind brighter than that


@lru_cache(maxsize=1)
def _population() -> _Population:
    """How many galaxies of which kind, redshift and luminosity the survey sees.

    The luminosity function of Blanton et al. (2003, ApJ 592, 819) in the comoving volume; ellipticals take over towards
    its bright end as red galaxies do in Baldry et al. (2004, ApJ 600, 681), in tendency only: half of all at -20.7.
    """
    luminosity = 10.0 ** (-0.4 * (_ABSOLUTE + 20.44 - 5.0 * math.log10(0.7)))
    schechter = luminosity ** (1.0 - 1.05) * np.exp(-luminosity)
    red, blue = np.exp(-0.5 * (_KINDS / 0.25) ** 2), np.exp(-0.5 * ((_KINDS - 2.0) / 0.6) ** 2)
    red_share = 1.0 / (1.0 + np.exp((_ABSOLUTE + 20.7) / 1.2))
    mix = np.outer(red / red.sum(), red_share) + np.outer(blue / blue.sum(), 1.0 - red_share)
    brighter = np.cumsum(mix * schechter, axis=1)

    middles = (_REDSHIFTS[:-1] + _REDSHIFTS[1:]) / 2.0
    volume = np.array([_comoving_distance(z) ** 2 / _expansion(z) for z in middles])
    volume[middles < REDSHIFT_LIMITS[0]] = 0.0
    limits = np.array([[_within_limits(k, z, row) for z in middles] for k, row in zip(_KINDS, brighter, strict=True)])
    return _Population(np.cumsum(volume * (limits[..., 1] - limits[..., 0])), brighter)


def _within_limits(kind: float, redshift: float, brighter: Floats) -> tuple[float, float]:
    """The two values of the cumulative luminosity function between which a galaxy is within R_LIMITS."""
    distance_and_k = ZERO_POINT - 2.5 * math.log10(fluxes(kind, redshift, 0.0)[_R])
    bright, faint = np.interp(np.array(R_LIMITS) - distance_and_k, _ABSOLUTE, brighter)
    return float(bright), float(faint)


@lru_cache(maxsize=2)
def bandpasses(bands: str = BANDS) -> tuple[galsim.Bandpass, ...]:
    """LSST's filters, with AB zero points."""
    return tuple(galsim.Bandpass(f"LSST_{band}.dat", "nm").withZeropoint("AB") for band in bands)


@lru_cache(maxsize=2)
def _template_fluxes(bands: str) -> Floats:
    """Fluxes (template, redshift, band) of absolute magnitude 0, with the K correction and without the distance.

    At redshift 0.1 the band of the absolute magnitude is the observed r, and the K correction -2.5 log10(1.1) for any
    spectrum.
    """
    magnitudes = np.empty((len(TEMPLATES), len(_REDSHIFTS), len(bands)))
    for row, name in enumerate(TEMPLATES):
        spectrum = galsim.SED(f"CWW_{name}_ext.sed", "Ang", "flambda")
        zero = spectrum.atRedshift(0.1).calculateMagnitude(bandpasses()[_R]) + 2.5 * math.log10(1.1)
        for column, redshift in enumerate(_REDSHIFTS):
            seen = spectrum.atRedshift(redshift)
            magnitudes[row, column] = [seen.calculateMagnitude(band) - zero for band in bandpasses(bands)]
    relative: Floats = 10.0 ** (-0.4 * magnitudes)
    return relative


def _radius(absolute: float, early: float, redshift: float, deviation: float) -> float:
    """Half-light radius in arcseconds, after Shen et al. (2003, MNRAS 343, 978, equations 14 to 16 and figure 4).

    Args:
        absolute: r magnitude as seen at redshift 0.1.
        early: share of the early types' relation, the rest being the late types'.
        redshift: where the galaxy is.
        deviation: from the mean relation, in sigmas.
    """
    log_early = -0.4 * 0.60 * absolute - 4.63
    bend = math.log10(1.0 + 10.0 ** (-0.4 * (absolute + 20.52)))
    log_late = -0.4 * 0.21 * absolute + (0.53 - 0.21) * bend - 1.31
    scatter = 0.25 + (0.48 - 0.25) / (1.0 + 10.0 ** (-0.8 * (absolute + 20.52)))
    kiloparsecs = 10.0 ** (early * log_early + (1.0 - early) * log_late) * math.exp(scatter * deviation)
    angular_diameter_distance = 1000.0 * _comoving_distance(redshift) / (1.0 + redshift)
    # Of the nearest giants a stamp holds the core alone; wider ones would overflow the drawing grid.
    return min(3600.0 * math.degrees(kiloparsecs / angular_diameter_distance), 12.0)


def _expansion(redshift: Floats | float) -> Floats:
    """H(z) / H0."""
    return np.sqrt(_OMEGA_M * (1.0 + np.asarray(redshift)) ** 3 + 1.0 - _OMEGA_M)


@lru_cache(maxsize=1)
def _comoving_distances() -> Floats:
    """At _REDSHIFTS, by the trapezoidal rule."""
    slowness = 1.0 / _expansion(_REDSHIFTS)
    steps = (slowness[1:] + slowness[:-1]) / 2.0 * np.diff(_REDSHIFTS)
    return _HUBBLE_DISTANCE * np.concatenate([[0.0], np.cumsum(steps)])


def _comoving_distance(redshift: float) -> float:
    return float(np.interp(redshift, _REDSHIFTS, _comoving_distances()))

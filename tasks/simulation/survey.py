"""Simulated galaxy surveys, drawn with GalSim to look like the SDSS camera's co-added images of Stripe 82.

What a galaxy is, `tasks.simulation.population` draws; here it is seen through atmosphere, pixels and noise.

Units: fluxes and pixels in nanomaggies (AB zero point 22.5), angles in arcseconds.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.errors import BadInput, CosmicError
from inference.storage.worker_pool import worker_pool
from tasks.simulation.drawing import PIXEL, SIDE, render, seeing_ratios
from tasks.simulation.population import ALL_BANDS, BANDS, ZERO_POINT, Floats, Galaxy, draw_galaxy

# Stripe 82 co-added: median FWHM in r from Annis et al. (2014, ApJ 794, 120), five-sigma depths for point sources from
# Jiang et al. (2014, ApJS 213, 12). Single SDSS exposures, two magnitudes shallower, hold too little about redshift.
SEEING = 1.1
SEEING_SCATTER = 0.1  # of its logarithm, from place to place; assumed
DEPTHS = np.array([23.9, 25.1, 24.6, 24.1, 22.8])
Y_DEPTH = DEPTHS[-1] - 1.2  # SDSS has no y: as much shallower than z as LSST's (Ivezic et al. 2019, ApJ 873, 111)
POINT_SOURCE_NOISE = 10.0 ** (-0.4 * (DEPTHS - ZERO_POINT)) / 5.0  # nanomaggies
_Y_NOISE = 10.0 ** (-0.4 * (Y_DEPTH - ZERO_POINT)) / 5.0
CALIBRATION_ERROR = 0.02  # magnitudes: the error that no brightness overcomes

MAX_SAMPLES = 2_000_000  # 41 GB of pixels, three times the SDSS set
MAX_SEED = 2**32 - 1  # one word of the generator's key, so that no two (seed, galaxy) share a key

_CHUNK = 32  # galaxies a worker draws between two reports of progress
_WORTH_A_PROCESS = 1000  # galaxies that take about as long as a process's start


@dataclass(frozen=True)
class Conditions:
    """What a survey is observed with; the defaults are those of the demo's.

    Attributes:
        pixel: side of a pixel, arcseconds.
        seeing: median FWHM of the PSF in the r band, arcseconds.
        shallower: magnitudes that the limit of every band is brighter than DEPTHS; negative is deeper.
        bands: some of u g r i z y, in the order in which they are handed over.
        side: of a cut-out, pixels.
    """

    pixel: float = PIXEL
    seeing: float = SEEING
    shallower: float = 0.0
    bands: str = BANDS
    side: int = SIDE

    @property
    def drawn(self) -> str:
        """The bands that are drawn: u g r i z whichever of them are handed over, and y where it is."""
        return ALL_BANDS if set(self.bands) - set(BANDS) else BANDS

    @property
    def chosen(self) -> list[int]:
        """Where the bands stand among those that are drawn."""
        return [self.drawn.index(band) for band in self.bands]

    @property
    def point_source_noise(self) -> Floats:
        """Error of a point source's flux in each band that is drawn, nanomaggies."""
        of_bands = POINT_SOURCE_NOISE if self.drawn == BANDS else np.append(POINT_SOURCE_NOISE, _Y_NOISE)
        noise: Floats = of_bands * 10.0 ** (0.4 * self.shallower)
        return noise


AS_TRAINED = Conditions()
_Chunk = tuple[int, Conditions, int, int]  # seed, conditions, first galaxy, the one after the last
MAX_SIDE = 128  # pixels: the grid that galaxies are drawn on
_LIMITS = {"pixel": (0.1, 1.5), "seeing": (0.3, 5.0), "shallower": (-5.0, 5.0)}


@dataclass(frozen=True)
class Survey:
    """What a survey hands over, galaxy by galaxy.

    Attributes:
        images: float32 (N, 5, 32, 32), bands u g r i z, nanomaggies a pixel, sky subtracted.
        magnitudes: float64 (N, 5), measured asinh AB magnitudes.
        redshifts: float64 (N,), true redshifts.
    """

    images: npt.NDArray[np.float32]
    magnitudes: Floats
    redshifts: Floats


def simulate(
    samples: int,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    conditions: Conditions = AS_TRAINED,
) -> Survey:
    """Draw a survey of `samples` galaxies.

    Galaxy i depends on `seed` and i alone, and what is seen of it on the conditions; neither on the survey's length nor
    on the number of workers. These are spawned processes, so a script has to call this under
    `if __name__ == "__main__"`.

    Args:
        samples: how many galaxies, 1 to MAX_SAMPLES.
        seed: 0 to MAX_SEED.
        workers: processes to draw with, by default one a CPU, and no more than the survey is worth; with 1 this
            process draws.
        progress: called with the number of galaxies newly finished.
        conditions: what they are observed with.

    Raises:
        BadInput: an argument is no number within its limits.
        CosmicError: a worker process died.
    """
    check(samples, seed, 1 if workers is None else workers, conditions)
    if workers is None:
        workers = min(os.cpu_count() or 1, -(-samples // _WORTH_A_PROCESS))
    chunks = [(seed, conditions, start, min(start + _CHUNK, samples)) for start in range(0, samples, _CHUNK)]
    survey = _empty(samples, len(conditions.bands), conditions.side)

    def keep(chunk: _Chunk, drawn: Survey) -> None:
        *_, start, stop = chunk
        survey.images[start:stop] = drawn.images
        survey.magnitudes[start:stop] = drawn.magnitudes
        survey.redshifts[start:stop] = drawn.redshifts
        if progress is not None:
            progress(stop - start)

    if min(workers, len(chunks)) == 1:
        for chunk in chunks:
            keep(chunk, _observe(chunk))
        return survey
    try:
        with worker_pool(min(workers, len(chunks))) as pool:
            for chunk, drawn in zip(chunks, pool.map(_observe, chunks), strict=True):
                keep(chunk, drawn)
    except BrokenProcessPool:
        raise CosmicError("a worker process died while it drew galaxies") from None
    return survey


def sky_noise(conditions: Conditions = AS_TRAINED) -> Floats:
    """Standard deviation of a pixel's sky in each band that is drawn, nanomaggies.

    Gaussian, as the Poisson noise of so many sky photons is, and such that a point source of the limiting magnitude,
    weighted by a Gaussian PSF in median seeing, stands out five-fold.
    """
    sigma = conditions.seeing * seeing_ratios(conditions.drawn) / math.sqrt(8.0 * math.log(2.0)) / conditions.pixel
    noise: Floats = conditions.point_source_noise / np.sqrt(4.0 * math.pi * sigma**2)
    return noise


def measure_magnitudes(
    galaxy: Galaxy, seeing: float, rng: np.random.Generator, conditions: Conditions = AS_TRAINED
) -> Floats:
    """The catalogue's asinh AB magnitudes in the drawn bands, softened at one sigma of a point source's noise.

    They are Pogson's for all but the faintest, and finite for all (Lupton, Gunn & Szalay 1999, AJ 118, 1406). Errors
    are Gaussian in flux: the sky under the galaxy, which grows with its seeing-smeared radius, and CALIBRATION_ERROR.
    They are independent of the image's noise, as if measured on another exposure.
    """
    ratios = seeing_ratios(conditions.drawn)
    limit = conditions.point_source_noise
    sky = limit * np.hypot(galaxy.radius, seeing * ratios / 2.0) / (conditions.seeing * ratios / 2.0)
    pogson = 2.5 / math.log(10.0)
    noise = np.hypot(sky, CALIBRATION_ERROR / pogson * galaxy.fluxes)
    measured = galaxy.fluxes + noise * _deviates(rng, conditions)
    luptitudes = np.arcsinh(measured / (2.0 * limit)) + np.log(limit)
    magnitudes: Floats = ZERO_POINT - pogson * luptitudes
    return magnitudes


def _deviates(rng: np.random.Generator, conditions: Conditions, *shape: int) -> Floats:
    """Normal deviates for each band; y's come from a stream of its own, so that u g r i z are the same with it."""
    usual = rng.standard_normal((len(BANDS), *shape))
    further = len(conditions.drawn) - len(BANDS)
    return np.concatenate([usual, rng.spawn(1)[0].standard_normal((further, *shape))]) if further else usual


def _observe(chunk: _Chunk) -> Survey:
    """Galaxies `start` to `stop` of the seed's survey."""
    seed, conditions, start, stop = chunk
    images, magnitudes, redshifts = [], [], []
    noise = sky_noise(conditions)[:, None, None]
    for index in range(start, stop):
        rng = np.random.default_rng([seed, index])
        galaxy = draw_galaxy(rng, conditions.drawn)
        seeing = conditions.seeing * math.exp(SEEING_SCATTER * rng.standard_normal())
        magnitudes.append(measure_magnitudes(galaxy, seeing, rng, conditions))
        image = render(galaxy, seeing, conditions.pixel, conditions.side, conditions.drawn)
        images.append((image + noise * _deviates(rng, conditions, *image.shape[1:])).astype(np.float32))
        redshifts.append(galaxy.redshift)
    shot, measured = np.stack(images), np.stack(magnitudes)
    if conditions.bands != BANDS:
        shot, measured = shot[:, conditions.chosen], measured[:, conditions.chosen]
    return Survey(shot, measured, np.array(redshifts))


def _empty(samples: int, bands: int, side: int) -> Survey:
    return Survey(np.empty((samples, bands, side, side), np.float32), np.empty((samples, bands)), np.empty(samples))


def check(samples: object, seed: object, workers: object, conditions: Conditions = AS_TRAINED) -> None:
    """Look at the arguments of `simulate`, and draw nothing.

    Raises:
        BadInput: one is no number within its limits.
    """
    _check_whole("samples", samples, 1, MAX_SAMPLES)
    _check_whole("seed", seed, 0, MAX_SEED)
    _check_whole("workers", workers, 1, 1024)
    bands = conditions.bands
    if not bands or len(set(bands)) < len(bands) or not set(bands) <= set(ALL_BANDS):
        raise BadInput(f"bands must be some of {ALL_BANDS}, each once, such as griz, not {bands!r:.40}")
    _check_whole("size", conditions.side, 8, MAX_SIDE)
    for name, (least, most) in _LIMITS.items():
        value = getattr(conditions, name)
        if not least <= value <= most:
            raise BadInput(f"{name} must be a number from {least:g} to {most:g}, not {value!r:.40}")


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"{name} must be a whole number from {least} to {most}, not {value!r:.40}")

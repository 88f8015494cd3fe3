import math
from dataclasses import replace

import galsim
import numpy as np
import pytest

from tasks.simulation.drawing import PIXEL, SIDE, render, seeing_ratios
from tasks.simulation.survey import SEEING
from tests.tasks.simulation.test_survey import COMPACT_DISK


def by_galsim(galaxy, seeing, pixel):
    """The same modes, drawn by GalSim profile by profile."""
    half_plane = galsim.BoundsI(0, 64, -64, 63)
    modes = galsim.ImageCD(half_plane, scale=2.0 * math.pi / (128 * pixel))
    centre = [pixel * ((SIDE - 1) / 2.0 + offset) for offset in galaxy.offset]
    shape = galsim.Shear(q=galaxy.axis_ratio, beta=galaxy.angle * galsim.radians)
    profile = galsim.Sersic(galaxy.sersic_index, half_light_radius=galaxy.radius).shear(shape).shift(*centre)
    source = galsim.Convolve(profile, galsim.Pixel(pixel)).drawKImage(modes, recenter=False).array.copy()
    psfs = [galsim.Moffat(beta=2.5, fwhm=width) for width in seeing * seeing_ratios()]
    seen = np.stack([source * psf.drawKImage(modes, recenter=False).array for psf in psfs])
    return galaxy.fluxes[:, None, None] * np.fft.irfft2(np.fft.ifftshift(seen, axes=1), (128, 128))[:, :SIDE, :SIDE]


@pytest.mark.parametrize("kind", [0.0, 0.7, 1.2, 2.0])
@pytest.mark.parametrize(
    ("seen", "seeing", "pixel"),
    [
        ({}, SEEING, PIXEL),
        ({"angle": 2.6, "axis_ratio": 0.2}, SEEING, PIXEL),
        ({"radius": 12.0, "offset": (-0.5, 0.49)}, 0.9, PIXEL),
        ({"radius": 0.1, "axis_ratio": 1.0}, 0.3, 0.1),
        ({"angle": math.pi / 2}, 5.0, 1.5),
    ],
    ids=["usual", "edge on", "giant", "sharp", "blurred"],
)
def test_every_pixel_is_galsim_s_to_a_millionth_of_the_peak(kind, seen, seeing, pixel):
    galaxy = replace(COMPACT_DISK, kind=kind, **seen)
    expected = by_galsim(galaxy, seeing, pixel)
    peaks = expected.max(axis=(1, 2), keepdims=True)
    assert np.abs((render(galaxy, seeing, pixel) - expected) / peaks).max() < 1e-6


@pytest.mark.parametrize("kind", [0.0, 0.7, 2.0])
def test_a_drawn_galaxy_agrees_with_galsim_s_own_drawing(kind):
    galaxy = replace(COMPACT_DISK, kind=kind)
    shape = galsim.Shear(q=galaxy.axis_ratio, beta=galaxy.angle * galsim.radians)
    profile = galsim.Sersic(galaxy.sersic_index, half_light_radius=galaxy.radius, flux=galaxy.fluxes[2]).shear(shape)
    seen = galsim.Convolve(profile, galsim.Moffat(beta=2.5, fwhm=1.2))
    expected = seen.drawImage(nx=32, ny=32, scale=PIXEL, offset=galaxy.offset, dtype=float).array
    assert render(galaxy, 1.2)[2] == pytest.approx(expected, abs=0.005 * expected.max())


def test_a_stamp_s_pixels_sum_to_the_flux_of_a_compact_galaxy():
    assert render(COMPACT_DISK, 1.0).sum(axis=(1, 2)) == pytest.approx(COMPACT_DISK.fluxes, rel=0.03)


def test_worse_seeing_broadens_a_galaxy_and_keeps_its_light():
    sharp, blurred = render(COMPACT_DISK, 0.8)[2], render(COMPACT_DISK, 2.0)[2]
    assert blurred.max() < 0.6 * sharp.max()
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.05)


def test_the_psf_is_wider_in_bluer_bands():
    peaks = render(COMPACT_DISK, SEEING).max(axis=(1, 2)) / COMPACT_DISK.fluxes
    assert np.all(np.diff(peaks) > 0.0)


def test_smaller_pixels_hold_less_light_each():
    coarse, fine = render(COMPACT_DISK, 1.1, 0.4)[2], render(COMPACT_DISK, 1.1, 0.2)[2]
    assert fine.max() == pytest.approx(coarse.max() / 4, rel=0.1)

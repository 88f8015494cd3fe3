"""The simulated colours against synthetic photometry computed anew, from the same tables and nothing else of ours."""

from pathlib import Path

import galsim
import numpy as np
import pytest

from tasks.simulation.population import ALL_BANDS, BANDS, TEMPLATES, ZERO_POINT, fluxes

_TABLES = Path(galsim.meta_data.share_dir)
_SPEED_OF_LIGHT = 2.99792458e18  # angstroms a second


def ab_magnitude(wavelength, flux_density, band):
    """AB magnitude of a spectrum (erg/s/cm2/A at angstroms) through a filter, by photons (Fukugita et al. 1996)."""
    nanometres, throughput = np.loadtxt(_TABLES / "bandpasses" / f"LSST_{band}.dat", unpack=True)
    grid = np.arange(10 * nanometres.min(), 10 * nanometres.max(), 0.5)
    through = np.interp(grid, 10 * nanometres, throughput)
    seen = np.interp(grid, wavelength, flux_density, left=0, right=0)
    photons = np.trapezoid(seen * through * grid, grid)
    flat = np.trapezoid(_SPEED_OF_LIGHT / grid**2 * through * grid, grid)  # of one erg/s/cm2/Hz
    return -2.5 * np.log10(photons / flat) - 48.6


def template(name):
    return np.loadtxt(_TABLES / "SEDs" / f"CWW_{name}_ext.sed", unpack=True)


@pytest.mark.parametrize("redshift", [0.02, 0.1, 0.237, 0.4, 0.59])
@pytest.mark.parametrize("kind", range(len(TEMPLATES)))
def test_colour_tracks_of_the_templates_are_those_of_synthetic_photometry(kind, redshift):
    wavelength, flux_density = template(TEMPLATES[kind])
    expected = [ab_magnitude(wavelength * (1 + redshift), flux_density, band) for band in ALL_BANDS]
    simulated = ZERO_POINT - 2.5 * np.log10(fluxes(float(kind), redshift, -20.0, ALL_BANDS))
    assert np.diff(simulated) == pytest.approx(np.diff(expected), abs=0.01)


@pytest.mark.parametrize(("kind", "redshift"), [(0.5, 0.1), (1.25, 0.3), (2.9, 0.5)])
def test_between_two_templates_lies_the_mixture_of_their_spectra(kind, redshift):
    first, share = int(kind), kind - int(kind)
    wavelength, _ = template(TEMPLATES[first])

    def scaled(name):
        """The template's spectrum such that its absolute magnitude in r as seen at redshift 0.1 is zero."""
        own, flux_density = template(name)
        return np.interp(wavelength, own, flux_density) * 10 ** (0.4 * ab_magnitude(own * 1.1, flux_density, "r"))

    mixture = (1 - share) * scaled(TEMPLATES[first]) + share * scaled(TEMPLATES[first + 1])
    expected = [ab_magnitude(wavelength * (1 + redshift), mixture, band) for band in BANDS]
    simulated = ZERO_POINT - 2.5 * np.log10(fluxes(kind, redshift, -20.0))
    assert np.diff(simulated) == pytest.approx(np.diff(expected), abs=0.01)


def test_absolute_magnitude_is_apparent_less_distance_and_k_correction():
    """At redshift 0.1 the filter is the observed one and the K correction -2.5 log10(1.1)."""
    z = np.linspace(0, 0.1, 10_001)
    comoving = 299_792.458 / 70 * np.trapezoid(1 / np.sqrt(0.3 * (1 + z) ** 3 + 0.7), z)
    modulus = 5 * np.log10(1.1 * comoving) + 25
    for kind in (0.0, 1.7, 3.0):
        apparent = ZERO_POINT - 2.5 * np.log10(fluxes(kind, 0.1, -21.0)[BANDS.index("r")])
        assert apparent - modulus + 2.5 * np.log10(1.1) == pytest.approx(-21.0, abs=0.005)


def test_early_types_are_redder_than_late_ones_and_redden_with_redshift():
    def g_minus_r(kind, redshift):
        _, g, r, _, _ = fluxes(kind, redshift, -20.0)
        return -2.5 * np.log10(g / r)

    track = [g_minus_r(0.0, redshift) for redshift in np.linspace(0.02, 0.36, 9)]
    assert np.all(np.diff(track) > 0)
    assert all(g_minus_r(kind, 0.1) > g_minus_r(kind + 1, 0.1) for kind in (0.0, 1.0, 2.0))

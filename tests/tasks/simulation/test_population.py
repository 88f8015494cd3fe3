from dataclasses import replace
from pathlib import Path

import galsim
import numpy as np
import pytest

from tasks.simulation.population import R_LIMITS, REDSHIFT_LIMITS, TEMPLATES, ZERO_POINT, Galaxy, draw_galaxy, fluxes

SHARE = Path(galsim.meta_data.share_dir)
GALAXY = Galaxy(redshift=0.2, kind=2.0, fluxes=np.ones(5), radius=0.8, axis_ratio=0.7, angle=0.5, offset=(0.2, -0.3))


@pytest.fixture(scope="module")
def population():
    return [draw_galaxy(np.random.default_rng([5, index])) for index in range(2000)]


def colour(kind, redshift, bluer, redder):
    seen = fluxes(kind, redshift, -21.0)
    return -2.5 * np.log10(seen["ugriz".index(bluer)] / seen["ugriz".index(redder)])


def tabulated(path):
    return np.loadtxt(path, comments="#", usecols=(0, 1)).T


@pytest.mark.parametrize("kind", range(len(TEMPLATES)))
@pytest.mark.parametrize("redshift", [0.02, 0.1003, 0.2517, 0.4, 0.5999])
def test_colours_are_those_of_the_template_seen_through_the_filters(kind, redshift):
    angstroms, per_angstrom = tabulated(SHARE / "SEDs" / f"CWW_{TEMPLATES[kind]}_ext.sed")
    expected = []
    for band in "ugriz":
        nanometres, throughput = tabulated(SHARE / "bandpasses" / f"LSST_{band}.dat")
        seen = np.arange(3000.0, 12000.0, 0.5)
        passing = np.interp(seen, 10.0 * nanometres, throughput, left=0.0, right=0.0)
        photons = np.interp(seen / (1.0 + redshift), angstroms, per_angstrom) * seen * passing
        flat_in_frequency = passing / seen  # photons of an AB source of magnitude zero, up to constants
        expected.append(-2.5 * np.log10(photons.sum() / flat_in_frequency.sum()))
    magnitudes = -2.5 * np.log10(fluxes(kind, redshift, -21.0))
    assert np.diff(magnitudes) == pytest.approx(np.diff(expected), abs=0.02)


def test_at_redshift_one_tenth_the_k_correction_is_of_the_bandwidth_alone():
    hubble_distance = 299_792.458 / 70.0
    redshifts = np.linspace(0.0, 0.1, 2001)
    comoving = hubble_distance * np.trapezoid(1.0 / np.sqrt(0.3 * (1.0 + redshifts) ** 3 + 0.7), redshifts)
    modulus = 5.0 * np.log10(1.1 * comoving * 1e6 / 10.0)
    for kind in range(4):
        magnitude = ZERO_POINT - 2.5 * np.log10(fluxes(kind, 0.1, -21.0)[2])
        assert magnitude == pytest.approx(-21.0 + modulus - 2.5 * np.log10(1.1), abs=0.002)


def test_a_type_between_two_templates_has_the_mean_of_their_fluxes():
    assert fluxes(0.5, 0.3, -21.0) == pytest.approx((fluxes(0.0, 0.3, -21.0) + fluxes(1.0, 0.3, -21.0)) / 2.0)


@pytest.mark.parametrize("redshift", [0.01, 0.1, 0.3, 0.6])
def test_an_earlier_type_is_redder(redshift):
    colours = [colour(kind, redshift, "g", "r") for kind in (0.0, 1.0, 2.0, 3.0)]
    assert colours == sorted(colours, reverse=True)
    assert colours[0] - colours[-1] > 0.4


def test_the_4000_angstrom_break_moves_through_g_and_r():
    assert colour(0.0, 0.3, "g", "r") > colour(0.0, 0.001, "g", "r") + 0.5
    assert colour(0.0, 0.5, "r", "i") > colour(0.0, 0.2, "r", "i") + 0.3


def test_every_galaxy_is_within_the_survey_s_limits(population):
    r = np.array([ZERO_POINT - 2.5 * np.log10(galaxy.fluxes[2]) for galaxy in population])
    redshifts = np.array([galaxy.redshift for galaxy in population])
    assert R_LIMITS[0] - 0.01 < r.min() < r.max() < R_LIMITS[1] + 0.01
    assert REDSHIFT_LIMITS[0] <= redshifts.min() < redshifts.max() <= REDSHIFT_LIMITS[1]


def test_redshifts_peak_where_a_bright_survey_s_do(population):
    counts, edges = np.histogram([galaxy.redshift for galaxy in population], bins=12, range=(0.0, 0.6))
    assert 0.1 <= edges[np.argmax(counts)] <= 0.25


def test_farther_galaxies_look_fainter_and_smaller_and_are_brighter(population):
    redshifts = np.array([galaxy.redshift for galaxy in population])
    r = np.array([-2.5 * np.log10(galaxy.fluxes[2]) for galaxy in population])
    radii = np.array([galaxy.radius for galaxy in population])
    near, far = redshifts < 0.1, redshifts > 0.3
    assert np.median(r[far]) > np.median(r[near]) + 0.3
    assert np.median(radii[far]) < np.median(radii[near])
    absolute = r - 5.0 * np.log10(redshifts)
    assert np.median(absolute[far]) < np.median(absolute[near]) - 1.5


def test_early_types_are_concentrated_and_late_types_are_disks():
    indices = [replace(GALAXY, kind=kind).sersic_index for kind in (0.0, 0.7, 1.2, 2.0, 3.0)]
    assert indices == [4.0, 2.5, 1.5, 1.0, 1.0]

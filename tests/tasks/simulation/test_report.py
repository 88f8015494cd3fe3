import re

import numpy as np
import pytest

from tasks.simulation.report import bands, colours, histograms, noise_and_psf, samples, survey_page
from tasks.simulation.survey import Survey, simulate, sky_noise


@pytest.fixture(scope="module")
def survey():
    return simulate(60, seed=5, workers=1)


@pytest.fixture(scope="module")
def page(survey):
    return survey_page(survey, 5)


def test_the_page_shows_cutouts_colours_and_noise_and_needs_nothing_else(page):
    assert "60 galaxies, seed 5" in page
    assert page.count("<svg") == 4
    assert page.count("data:image/png;base64,") == 40 + 5
    assert "<script" not in page
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)"', page))
    for text in ("Moffat", "1.1 arcseconds", "23.9", noise_and_psf().split(";")[0]):
        assert text in page


def test_cutouts_show_redshift_and_magnitude_in_the_order_of_redshift(survey, page):
    redshifts = [float(z) for z in re.findall(r">z (\d\.\d\d), r \d\d\.\d<", page)]
    assert len(redshifts) == 40
    assert redshifts == sorted(redshifts)
    assert redshifts[-1] == round(float(survey.redshifts.max()), 2)


def test_the_noise_that_is_found_is_about_the_noise_that_was_put_in(page):
    rows = re.findall(r'<td class="n">([\d.e-]+)</td><td class="n">[\d.]+</td></tr>', page)
    found = [float(row) for row in rows]
    assert found == pytest.approx(sky_noise().tolist(), rel=0.2)


@pytest.mark.parametrize("draw", [samples, bands, colours, histograms])
def test_a_single_galaxy_has_its_pictures_too(survey, draw):
    one = Survey(survey.images[:1], survey.magnitudes[:1], survey.redshifts[:1])
    assert "<svg" in draw(one)


def test_the_same_survey_gives_the_same_page(survey, page):
    assert survey_page(survey, 5) == page
    assert np.isfinite(survey.images).all()

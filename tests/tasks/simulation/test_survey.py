import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from inference.errors import BadInput, CosmicError
from tasks.simulation.population import ZERO_POINT, Galaxy, draw_galaxy
from tasks.simulation.survey import (
    MAX_SAMPLES,
    MAX_SEED,
    SEEING,
    Conditions,
    measure_magnitudes,
    simulate,
    sky_noise,
)

COMPACT_DISK = Galaxy(
    redshift=0.2,
    kind=2.0,
    fluxes=np.array([10.0, 25.0, 40.0, 50.0, 60.0]),
    radius=0.8,
    axis_ratio=0.7,
    angle=0.5,
    offset=(0.2, -0.3),
)


@pytest.fixture(scope="module")
def survey():
    return simulate(70, seed=3, workers=1)


def same_bytes(one, other):
    return all(
        getattr(one, part).tobytes() == getattr(other, part).tobytes() for part in ("images", "magnitudes", "redshifts")
    )


def test_a_survey_has_the_shapes_and_types_of_a_partition(survey):
    assert survey.images.shape == (70, 5, 32, 32)
    assert survey.images.dtype == np.float32
    assert survey.magnitudes.shape == (70, 5)
    assert survey.magnitudes.dtype == np.float64
    assert survey.redshifts.shape == (70,)
    assert survey.redshifts.dtype == np.float64


def test_every_number_of_a_survey_is_finite(survey):
    assert np.isfinite(survey.images).all()
    assert np.isfinite(survey.magnitudes).all()
    assert np.isfinite(survey.redshifts).all()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(survey):
    assert same_bytes(survey, simulate(70, seed=3, workers=2))


def test_another_seed_gives_other_galaxies(survey):
    other = simulate(4, seed=4, workers=1)
    assert not np.intersect1d(other.redshifts, survey.redshifts).size
    assert not np.array_equal(other.images, survey.images[:4])


def test_a_shorter_survey_is_the_beginning_of_a_longer_one(survey):
    shorter = simulate(33, seed=3, workers=1)
    assert np.array_equal(shorter.images, survey.images[:33])
    assert np.array_equal(shorter.magnitudes, survey.magnitudes[:33])
    assert np.array_equal(shorter.redshifts, survey.redshifts[:33])


def test_galaxy_i_depends_on_the_seed_and_i_alone(survey):
    alone = [draw_galaxy(np.random.default_rng([3, index])).redshift for index in range(70)]
    assert survey.redshifts.tolist() == alone
    assert len(set(alone)) == 70


def test_progress_adds_up_to_the_survey():
    finished = []
    simulate(40, workers=1, progress=finished.append)
    assert len(finished) > 1
    assert sum(finished) == 40


@pytest.mark.parametrize("samples", [0, -1, MAX_SAMPLES + 1, 1.5, "7", True, None])
def test_a_number_of_samples_that_makes_no_survey_is_refused(samples):
    with pytest.raises(BadInput, match="samples must be a whole number from 1"):
        simulate(samples)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 0.5, None])
def test_a_seed_that_is_no_seed_is_refused(seed):
    with pytest.raises(BadInput, match="seed must be a whole number from 0"):
        simulate(1, seed=seed)


@pytest.mark.parametrize("workers", [0, -2, 5000, 1.0])
def test_a_number_of_workers_that_cannot_be_is_refused(workers):
    with pytest.raises(BadInput, match="workers must be a whole number from 1"):
        simulate(1, workers=workers)


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_survey_with_one_sentence():
    others = multiprocessing.active_children()

    def kill_the_workers(_):
        for child in set(multiprocessing.active_children()).difference(others):
            child.kill()

    with pytest.raises(CosmicError, match="a worker process died"):
        simulate(2000, workers=2, progress=kill_the_workers)


def test_images_and_magnitudes_share_their_zero_point(survey):
    stamp_noise = 32.0 * sky_noise()
    galaxies = [draw_galaxy(np.random.default_rng([3, index])) for index in range(len(survey.redshifts))]
    compact = [i for i, galaxy in enumerate(galaxies) if galaxy.sersic_index == 1.0 and galaxy.radius < 1.5]
    assert len(compact) > 10
    for index in compact:
        catalogue = 10.0 ** (-0.4 * (survey.magnitudes[index] - ZERO_POINT))
        pixels = survey.images[index].sum(axis=(1, 2))
        assert np.all(np.abs(pixels - catalogue) < 5.0 * stamp_noise + 0.15 * catalogue)


def test_the_sky_of_an_image_is_as_noisy_as_said(survey):
    corners = np.concatenate([survey.images[:, :, :3, :3], survey.images[:, :, -3:, -3:]], axis=-1)
    spread = 1.4826 * np.median(np.abs(corners - np.median(corners, axis=(2, 3), keepdims=True)), axis=(2, 3))
    assert np.median(spread, axis=0) == pytest.approx(sky_noise(), rel=0.15)


def test_bright_magnitudes_scatter_by_calibration_faint_ones_by_the_sky():
    rng = np.random.default_rng(0)
    bright = replace(COMPACT_DISK, fluxes=np.full(5, 1000.0))
    faint = replace(COMPACT_DISK, fluxes=np.full(5, 0.5))
    scatter = [
        np.std([measure_magnitudes(galaxy, SEEING, rng) for _ in range(1000)], axis=0) for galaxy in (bright, faint)
    ]
    assert scatter[0] == pytest.approx(np.full(5, 0.02), rel=0.15)
    assert np.all(scatter[1] > 2.0 * scatter[0])


def test_a_galaxy_lost_in_the_sky_still_has_magnitudes():
    rng = np.random.default_rng(0)
    nothing = replace(COMPACT_DISK, fluxes=np.zeros(5))
    assert np.isfinite([measure_magnitudes(nothing, SEEING, rng) for _ in range(100)]).all()


class TestConditions:
    def test_show_the_same_galaxies_another_way(self):
        usual = simulate(3, 1, 1)
        for conditions in (Conditions(pixel=0.262), Conditions(seeing=1.6), Conditions(shallower=1.0)):
            seen = simulate(3, 1, 1, conditions=conditions)
            assert (seen.redshifts == usual.redshifts).all()
            assert (seen.images != usual.images).any()

    def test_two_and_a_half_magnitudes_shallower_are_ten_times_the_noise(self):
        assert sky_noise(Conditions(shallower=2.5)) == pytest.approx(10 * sky_noise())

    def test_a_point_source_stands_out_as_much_whatever_the_pixels_are(self):
        assert sky_noise(Conditions(pixel=0.198)) == pytest.approx(sky_noise() / 2)

    @pytest.mark.parametrize(
        "conditions",
        [Conditions(pixel=0.0), Conditions(seeing=float("nan")), Conditions(shallower=9.0)],
        ids=["pixel", "seeing", "shallower"],
    )
    def test_beyond_their_limits_are_refused_by_name(self, conditions, request):
        with pytest.raises(BadInput, match=f"{request.node.callspec.id} must be a number from"):
            simulate(1, conditions=conditions)

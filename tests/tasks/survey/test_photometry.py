import numpy as np
import pytest

from tasks.survey.photometry import Photometry

N = 20
MAGNITUDES = np.sort(np.random.default_rng(0).uniform(16, 21, (N, 5)), axis=1)[:, ::-1]
IMAGES = np.zeros((N, 5, 32, 32), np.float32)
IMAGES[:, :, 16, 16] = 10 ** (0.4 * (22.5 - MAGNITUDES))


def notes(images, magnitudes=MAGNITUDES):
    photometry = Photometry()
    for start in range(0, len(images), 7):
        photometry.add(images[start : start + 7], magnitudes[start : start + 7][: len(images) - start])
    return photometry.notes()


def test_images_that_fit_their_magnitudes_get_no_note():
    assert notes(IMAGES) == []
    assert notes(IMAGES * 1.5) == []


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGES[:, ::-1], "fainter in z"),
        (IMAGES * np.float32(3.63), "1.4 mag brighter in u, 1.4 mag brighter in g"),
        (IMAGES * np.array([1, 1, 0.1, 1, 1], np.float32)[:, None, None], "are 2.5 mag fainter in r than"),
        (IMAGES - 1, "fainter in u"),
    ],
    ids=["reversed", "another unit", "one band", "a sky below zero"],
)
def test_images_that_do_not_are_described_by_band(images, said):
    (note,) = notes(images)
    assert said in note
    assert "bands in another order, another unit or zero point" in note


def test_few_objects_are_not_judged():
    assert notes(IMAGES[:4, ::-1]) == []


def test_images_of_other_objects_are_counted():
    assert notes(np.repeat(IMAGES[:1], 3, axis=0)) == ["2 images are the same as an earlier object's, pixel for pixel"]

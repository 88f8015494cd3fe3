import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb

from tasks.reporting.composite import lupton


@pytest.mark.parametrize("scale", [0.001, 0.1, 10.0])
@pytest.mark.parametrize("level", [-1.0, 0.0, 0.5])
def test_lupton_gives_astropy_s_picture(scale, level):
    image = (scale * (np.random.default_rng(1).normal(size=(3, 40, 40)) + level)).astype(np.float32)
    difference = lupton(image).astype(int) - make_lupton_rgb(*image, stretch=0.25, Q=8).astype(int)
    assert np.abs(difference).max() <= 1  # of 255, where a value lies on the edge of two
    assert np.mean(difference != 0) < 0.001


def test_lupton_shows_an_empty_sky_as_black():
    assert not lupton(np.zeros((3, 4, 4), np.float32)).any()

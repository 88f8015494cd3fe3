import pytest

from tasks.run_results.model_limits import model_limits

MODEL = {"model": {"key": "models/m.safetensors"}}
RANGES = {"redshift": [0.02, 0.45], "magnitude 2": [15.0, 20.5]}
TRAINED = {"bands": list("griz"), "pixel_scale": 0.262, "pixel_unit": "nanomaggy", "ranges": RANGES}
MADE = {"galaxies": 5000, "data": "mine/cal"}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            TRAINED,
            "galaxies in g r i z with pixels of 0.262 arcseconds in nanomaggy, redshift 0.0200 to 0.450 and r mag",
        ),
        ({"pixel_scale": 0.396}, "trained on galaxies with pixels of 0.396 arcseconds. It may be believed"),
        (None, "does not say what it was trained on"),
        ({"bands": 3}, "does not say what it was trained on"),
    ],
)
def test_limits_say_what_the_model_was_trained_on(facts, said):
    assert said in model_limits(MODEL | {"trained_on": facts})[0]


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        (
            {"made": MADE},
            "hold for galaxies like the 5,000 of mine/cal that calibrated them. They do not cover a change",
        ),
        ({"made": {"galaxies": 0}}, "are the model's own, and nobody has checked them"),
        (None, "The redshifts have no intervals"),
    ],
)
def test_limits_say_what_the_intervals_do_not_cover(calibration, said):
    assert said in model_limits(MODEL | {"calibration": calibration})[1]


def test_limits_of_a_script_are_none():
    assert model_limits({"model": None}) == []

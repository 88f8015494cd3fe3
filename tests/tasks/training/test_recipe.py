import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput
from tasks.training.recipe import SDSS, Pretraining, Recipe, read_recipe

RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 2**32 - 1),
    held_out=st.floats(0.01, 0.9),
    epochs=st.integers(1, 1000),
    learning_rate=st.floats(1e-9, 10),
    averaging=st.floats(0, 0.9999),
    precision=st.sampled_from(["float32", "bf16"]),
    pretraining=st.none() | st.builds(Pretraining, mask_ratio=st.floats(0.01, 0.99), epochs=st.integers(1, 1000)),
)


@given(RECIPES)
def test_a_recipe_survives_json(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_what_is_not_said_is_as_usual():
    assert Recipe.from_dict({}) == Recipe()
    assert Recipe.from_dict({"pretraining": {"epochs": 3}}).pretraining == Pretraining(epochs=3)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "the recipe must be an object, not list"),
        (
            {"epoch": 3},
            r"the recipe has no field 'epoch' \(did you mean epochs\?\); it has averaging, batch_size, data, epochs",
        ),
        ({"epochs": 0}, "epochs must be a whole number from 1, not 0"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number"),
        ({"held_out": 0}, "held_out must be above 0"),
        ({"averaging": 1}, "averaging must be at least 0 and below 1"),
        ({"precision": "int8"}, "precision must be one of float32, bf16, not 'int8'"),
        ({"frozen_encoder": 1, "pretraining": {}}, "frozen_encoder must be true or false"),
        ({"frozen_encoder": True}, "frozen_encoder without pretraining would keep an encoder that has learned nothing"),
        ({"pretraining": 3}, "pretraining must be an object, not int"),
        ({"data": {"pixels": 3}}, "data has no field 'pixels'"),
        ({"data": {"pixel_scale": -1}}, "pixel_scale must be arcseconds above 0, not -1"),
        ({"pretraining": {"mask": 0.5}}, "pretraining has no field 'mask'"),
        ({"pretraining": {"mask_ratio": 1.0}}, "mask_ratio must lie between 0 and 1"),
        ({"pretraining": {"decoder_heads": 7}}, "decoder_heads must divide decoder_width 96, and 7 does not"),
    ],
)
def test_a_wrong_field_is_named(document, expected):
    with pytest.raises(BadInput, match=expected):
        Recipe.from_dict(document)


def test_facts_of_the_data_are_added_to_those_that_are_known():
    _, recipe = read_recipe({"data": {"pixel_scale": 0.396}})
    assert recipe.data == dataclasses.replace(SDSS, pixel_scale=0.396)
    assert read_recipe(json.loads(json.dumps(recipe.to_dict())))[1] == recipe


def test_head_beside_the_model_changes_its_config():
    assert read_recipe({})[0].head == "point"
    assert read_recipe({"head": "quantiles", "epochs": 2})[0].head == "quantiles"
    with pytest.raises(BadInput, match="head must be one of point, quantiles, not 'mixture'"):
        read_recipe({"head": "mixture"})

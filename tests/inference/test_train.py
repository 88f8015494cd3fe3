import copy
import dataclasses

import numpy as np
import pytest
import torch

from inference.architecture import SMALL
from inference.checkpoint import load, read_config
from inference.metrics import photoz_metrics
from inference.simulate import Survey, simulate
from inference.train import WEIGHTS, Recipe, _Scaled, card, fold, train
from tests.models import TINY, random_model
from tests.surveys import random_survey

RECIPE = Recipe(samples=200, held_out=40, epochs=1, batch_size=64)


def survey_of(samples=200, seed=0):
    """Galaxies whose redshift is in their magnitudes, in inputs far from the unit scale."""
    images, magnitudes, redshifts = random_survey(samples, seed)
    images *= np.array([0.02, 0.5, 3.0, 40.0, 7.0], np.float32)[:, None, None]
    magnitudes[:, 0] = 22 - 8 * redshifts
    return Survey(images, magnitudes, redshifts)


@pytest.fixture
def one_thread():
    """A sum's rounding depends on how many threads share it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TestFolding:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_folded_model_takes_raw_inputs_and_is_the_same_function(self, seed):
        survey = survey_of(50, seed)
        scaled = _Scaled(random_model(TINY, seed), survey).eval()
        images, magnitudes = torch.from_numpy(survey.images), torch.from_numpy(survey.magnitudes).float()
        with torch.inference_mode():
            before = scaled(images, magnitudes)
            folded = fold(copy.deepcopy(scaled))
            after = folded(images, magnitudes)
            unscaled = scaled.model(images, magnitudes)
        torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
        assert (unscaled - before).abs().max() > 1e-3, "the scaling matters"
        assert before.std() > 1e-3, "and so do the inputs"


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
class TestTraining:
    def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others(self):
        survey = survey_of()
        first, metrics = train(TINY, RECIPE, survey)
        torch.rand(7)  # whatever was drawn before
        second, again = train(TINY, RECIPE, survey)
        other, _ = train(TINY, dataclasses.replace(RECIPE, seed=2), survey)
        assert metrics == again
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name]), name
        assert not torch.equal(first.head[0].weight, other.head[0].weight)

    def test_its_model_is_ready_to_use_on_raw_inputs_and_its_metrics_are_of_the_last_galaxies_only(self):
        survey = survey_of()
        model, metrics = train(TINY, RECIPE, survey)
        assert not model.training
        assert model.config == TINY
        assert metrics["samples"] == 20
        last = slice(180, None)
        with torch.inference_mode():
            images, magnitudes = (
                torch.from_numpy(survey.images[last]),
                torch.from_numpy(survey.magnitudes[last]).float(),
            )
            predicted = model(images, magnitudes).numpy()
        assert metrics == pytest.approx(photoz_metrics(predicted, survey.redshifts[last]), rel=1e-4)

    def test_the_held_out_galaxies_do_not_touch_the_weights(self):
        survey = survey_of()
        other = Survey(survey.images.copy(), survey.magnitudes.copy(), survey.redshifts.copy())
        for array in (other.images, other.magnitudes, other.redshifts):
            array[160:] = array[160:][::-1] * 3
        (first, _), (second, _) = train(TINY, RECIPE, survey), train(TINY, RECIPE, other)
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name]), name

    def test_it_learns(self):
        told = []
        recipe = dataclasses.replace(
            RECIPE, samples=1200, held_out=200, epochs=8, batch_size=32, averaging=0.9, learning_rate=1e-2
        )
        _, metrics = train(TINY, recipe, survey_of(1200), lambda *words: told.append(words))
        assert [epoch for epoch, _ in told] == list(range(1, 9))
        assert metrics["r2"] > 0.8
        assert told[-1][1] < told[0][1]


def test_the_card_names_split_seeds_recipe_and_metrics():
    metrics = photoz_metrics(np.array([0.1, 0.2, 0.32, 0.41]), np.array([0.1, 0.21, 0.3, 0.4]))
    recipe = Recipe(samples=1200, held_out=300, survey_seed=4321, seed=77, epochs=9)
    text = card(SMALL, recipe, metrics, 881_660)
    for fact in ("1,200 galaxies", "seed 4321", "first 900", "next 150", "last 150", "seed 77", "9 epochs", "0.88 MB"):
        assert fact in text, fact
    for name in ("mae", "r2"):
        assert f"{metrics[name]:.4f}" in text
    assert "not for science" in text


class TestTheDemoWeights:
    def test_they_are_small_and_of_the_small_config(self):
        assert WEIGHTS.stat().st_size < 1_000_000
        assert read_config(WEIGHTS) == SMALL
        assert load(WEIGHTS).config == SMALL

    def test_their_card_tells_the_recipe_that_is_in_the_source(self):
        text = WEIGHTS.with_suffix(".md").read_text()
        recipe = Recipe()
        for fact in (f"{recipe.samples:,} galaxies", f"seed {recipe.survey_seed}", f"{recipe.epochs} epochs"):
            assert fact in text, fact

    @pytest.mark.slow
    def test_they_know_the_redshift_of_galaxies_that_nobody_has_seen(self):
        survey = simulate(300, seed=987_654)
        with torch.inference_mode():
            predicted = load(WEIGHTS)(torch.from_numpy(survey.images), torch.from_numpy(survey.magnitudes))
        metrics = photoz_metrics(predicted.numpy(), survey.redshifts)
        assert metrics["r2"] >= 0.9
        assert metrics["nmad"] < 0.05

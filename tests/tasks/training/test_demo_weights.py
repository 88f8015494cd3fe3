import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from inference.model.checkpoint import load, read_config
from inference.model.config import SMALL
from tasks.photoz.metrics import photoz_metrics
from tasks.simulation.survey import simulate
from tasks.training.demo_weights import HELD_OUT, RECIPE, SAMPLES, SURVEY_SEED, WEIGHTS, card, split_by_index


def test_the_split_is_by_index():
    split = split_by_index(100, 20)
    assert split.train.tolist() == split.pretraining.tolist() == list(range(80))
    assert (split.validation.tolist(), split.test.tolist()) == (list(range(80, 90)), list(range(90, 100)))


def test_the_card_names_split_seeds_recipe_and_metrics():
    metrics = photoz_metrics(np.array([0.1, 0.2, 0.32, 0.41]), np.array([0.1, 0.21, 0.3, 0.4]))
    text = card(SMALL, metrics, 881_660)
    judged = HELD_OUT // 2
    for fact in (
        *(f"{SAMPLES:,} galaxies", f"seed {SURVEY_SEED}", f"first {SAMPLES - HELD_OUT:,}", f"last {judged:,}"),
        *(f"seed {RECIPE.seed}", f"{RECIPE.epochs} epochs", "0.88 MB"),
    ):
        assert fact in text, fact
    for name in ("mae", "r2"):
        assert f"{metrics[name]:.4f}" in text
    assert "not for science" in text


class TestTheDemoWeights:
    def test_they_are_small_and_of_the_small_config(self):
        assert WEIGHTS.stat().st_size < 1_000_000
        assert read_config(WEIGHTS) == SMALL
        assert load(WEIGHTS).config == SMALL

    def test_their_card_is_the_one_that_the_source_writes(self):
        with safe_open(WEIGHTS, "np") as file:
            metrics = json.loads(file.metadata()["cosmic"])["card"]["metrics"]
        assert WEIGHTS.with_suffix(".md").read_text() == card(SMALL, metrics, WEIGHTS.stat().st_size)

    @pytest.mark.slow
    def test_they_know_the_redshift_of_galaxies_that_nobody_has_seen(self):
        survey = simulate(300, seed=987_654)
        with torch.inference_mode():
            predicted = load(WEIGHTS)(torch.from_numpy(survey.images), torch.from_numpy(survey.magnitudes))
        metrics = photoz_metrics(predicted.numpy(), survey.redshifts)
        assert metrics["r2"] >= 0.9
        assert metrics["nmad"] < 0.05

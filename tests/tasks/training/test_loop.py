import copy
import dataclasses
import functools
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from safetensors import safe_open

from inference.errors import BadCheckpoint, BadInput, BadPartition, CosmicError
from inference.model.astromae import AstroMAE
from inference.partitions.partition import Partition
from tasks.photoz.metrics import photoz_metrics
from tasks.training import fit as fitting
from tasks.training import loop as training
from tasks.training.galaxies import GalaxySet
from tasks.training.loop import Scaled, fold, train
from tasks.training.recipe import Pretraining, Recipe
from tests.support.models import QUANTILES, TINY, random_model
from tests.support.surveys import random_survey

RECIPE = Recipe(held_out=0.2, epochs=2, batch_size=32, averaging=0.9)
BOTH = dataclasses.replace(
    RECIPE, pretraining=Pretraining(epochs=2, batch_size=32, decoder_width=24, decoder_depth=1, decoder_heads=2)
)


def survey_of(samples=100, seed=0):
    """Galaxies whose redshift is in their magnitudes, in inputs far from the unit scale."""
    images, magnitudes, redshifts = random_survey(samples, seed)
    images *= np.array([0.02, 0.5, 3.0, 40.0, 7.0], np.float32)[:, None, None]
    magnitudes[:, 0] = 22 - 8 * redshifts
    return images, magnitudes, redshifts


def trained(recipe=RECIPE, survey=None, **options):
    galaxies = GalaxySet([Partition("1.pt", *(survey or survey_of()))])
    return train(TINY, recipe, galaxies, galaxies.split(recipe.held_out, recipe.seed), device="cpu", **options)


@functools.cache
def _undisturbed(pretrained):
    return trained(BOTH if pretrained else RECIPE)


def undisturbed(recipe):
    """What RECIPE or BOTH makes of the usual galaxies: trained once, looked at by many tests and changed by none."""
    return _undisturbed(recipe.pretraining is not None)


def same(one, other):
    weights = other.model.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.model.state_dict().items())


@pytest.fixture(autouse=True)
def one_thread():
    """A sum's rounding depends on how many threads share it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TestFolding:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_folded_model_takes_raw_inputs_and_is_the_same_function(self, seed):
        images, magnitudes, _ = survey_of(50, seed)
        scaled = Scaled(random_model(TINY, seed), images.std(axis=(0, 2, 3)), magnitudes).eval()
        inputs = torch.from_numpy(images), torch.from_numpy(magnitudes).float()
        with torch.inference_mode():
            before = scaled(*inputs)
            after = fold(copy.deepcopy(scaled))(*inputs)
            unscaled = scaled.model(*inputs)
        torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
        assert (unscaled - before).abs().max() > 1e-3, "the scaling matters"
        assert before.std() > 1e-3, "and so do the inputs"


@pytest.mark.slow
class TestTraining:
    @pytest.mark.parametrize("recipe", [RECIPE, BOTH])
    def test_same_seed_gives_the_same_weights_and_another_seed_others(self, recipe):
        first = undisturbed(recipe)
        torch.rand(7)  # whatever was drawn before
        again = trained(recipe)
        assert same(first, again)
        assert first.metrics == again.metrics
        assert not same(first, trained(dataclasses.replace(recipe, seed=2)))

    def test_model_takes_raw_inputs_and_metrics_are_of_the_test_galaxies(self):
        survey = survey_of()
        result = trained(BOTH, survey)
        judged = GalaxySet([Partition("1.pt", *survey)]).split(0.2, 1).test
        assert not result.model.training
        assert all(parameter.requires_grad for parameter in result.model.parameters())
        with torch.inference_mode():
            images, magnitudes = torch.from_numpy(survey[0][judged]), torch.from_numpy(survey[1][judged]).float()
            predicted = result.model(images, magnitudes).numpy()
        assert result.metrics == pytest.approx(photoz_metrics(predicted, survey[2][judged]), rel=1e-4)
        assert result.test.z_spec.tolist() == survey[2][judged].tolist()

    @pytest.mark.parametrize("recipe", [RECIPE, BOTH])
    def test_the_held_out_galaxies_do_not_touch_the_weights(self, recipe):
        other = survey_of()
        split = GalaxySet([Partition("1.pt", *survey_of())]).split(0.2, 1)
        for array in other:
            array[split.validation] *= 1.5
            array[split.test] *= 0.5
        assert same(undisturbed(recipe), trained(recipe, other))

    def test_it_learns_and_notes_it_epoch_by_epoch(self):
        expected = []
        recipe = dataclasses.replace(RECIPE, epochs=5, batch_size=16, learning_rate=1e-2)
        result = trained(recipe, survey_of(400), progress=lambda *words: expected.append(words))
        assert [entry["epoch"] for _, entry in expected] == list(range(1, 6))
        assert result.metrics["r2"] > 0.8
        history = result.history["training"]
        assert history[-1]["loss"] < history[0]["loss"]
        assert history[-1]["nmad"] < history[0]["nmad"]
        assert all(entry["galaxies_per_s"] > 0 for entry in history)

    def test_pretraining_changes_the_encoder_and_a_frozen_one_stays(self, tmp_path):
        frozen = dataclasses.replace(BOTH, frozen_encoder=True)
        result = trained(frozen, state=tmp_path)
        with safe_open(tmp_path / "pretraining.safetensors", "pt") as file:
            kept = file.get_tensor("average.module.encoder.blocks.0.mlp.0.weight")
        assert torch.equal(result.model.encoder.blocks[0].mlp[0].weight, kept)
        assert not torch.equal(undisturbed(BOTH).model.encoder.blocks[0].mlp[0].weight, kept)
        assert [len(result.history[phase]) for phase in ("pretraining", "training")] == [2, 2]

    def test_reduced_precision_trains_too_and_keeps_weights_in_float32(self):
        reduced = dataclasses.replace(BOTH, precision="bf16")
        result = trained(reduced)
        assert {tensor.dtype for tensor in result.model.parameters()} == {torch.float32}
        assert not same(result, undisturbed(BOTH))
        assert result.metrics["mae"] == pytest.approx(undisturbed(BOTH).metrics["mae"], rel=0.2)

    @pytest.mark.parametrize("epochs", [1, 4])
    def test_average_of_a_short_training_forgets_the_first_weights(self, epochs):
        short = dataclasses.replace(RECIPE, epochs=epochs)
        slow, none = (trained(dataclasses.replace(short, averaging=averaging)) for averaging in (0.9999, 0.0))
        torch.manual_seed(short.seed)
        began = AstroMAE(TINY).encoder.blocks[0].mlp[0].weight
        moved, whole = ((one.model.encoder.blocks[0].mlp[0].weight - began).norm() for one in (slow, none))
        assert moved > 0.7 * whole

    @pytest.mark.parametrize("recipe", [RECIPE, BOTH])
    def test_the_batch_norms_fit_the_averaged_weights(self, recipe):
        galaxies = GalaxySet([Partition("1.pt", *survey_of())])
        model = trained(dataclasses.replace(recipe, learning_rate=0.02)).model
        split = galaxies.split(recipe.held_out, recipe.seed)
        norm = next(part for part in model.inception.modules() if isinstance(part, torch.nn.BatchNorm2d))
        seen = []
        norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with torch.inference_mode():
            model(torch.from_numpy(galaxies.images(split.train)), torch.from_numpy(galaxies.magnitudes[split.train]))
        mean, spread = seen[0].mean((0, 2, 3)), seen[0].std((0, 2, 3))
        assert ((norm.running_mean - mean).abs() < 0.05 * spread).all()
        torch.testing.assert_close(norm.running_var.sqrt(), spread, rtol=0.05, atol=0)

    @pytest.mark.parametrize("part", ["validation", "test", "train"])
    def test_a_galaxy_that_cannot_be_used_is_reported_before_any_training(self, part):
        survey, expected = survey_of(), []
        row = getattr(GalaxySet([Partition("1.pt", *survey)]).split(0.2, 1), part)[-1]
        survey[0][row, 2, 3, 4] = np.nan
        with pytest.raises(BadPartition, match=rf"1.pt: sample {row} has NaN or infinite pixels"):
            trained(BOTH, survey, progress=lambda *words: expected.append(words))
        assert expected == []

    @pytest.mark.parametrize(("part", "expected"), [(0, "pixels of band 2"), (1, "magnitudes of band 2")])
    def test_a_band_that_says_nothing_is_reported(self, part, expected):
        survey = survey_of()
        survey[part][:, 2] = 1.0
        with pytest.raises(BadInput, match=f"the {expected} are all alike"):
            trained(RECIPE, survey)

    def test_a_learning_rate_that_is_far_too_large_is_reported(self):
        with pytest.raises(CosmicError, match=r"diverged in epoch 1: choose a smaller learning rate than 1e"):
            trained(dataclasses.replace(RECIPE, learning_rate=1e17))


def killed_in_its_fifth_step(state):
    """Train, three steps an epoch, until the process is killed in the second epoch of the last phase."""
    torch.set_num_threads(1)
    steps, loss = [], training.redshift_loss

    def counted(*words):
        if torch.is_grad_enabled():  # not when batch norms are renewed
            steps.append(words)
        if len(steps) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(*words)

    training.redshift_loss = counted
    trained(BOTH, state=state)


@pytest.fixture(scope="module")
def kept_state(tmp_path_factory):
    """The state that a training with RECIPE leaves."""
    folder = tmp_path_factory.mktemp("state")
    trained(RECIPE, state=folder)
    return folder


@pytest.fixture
def state(kept_state, tmp_path):
    """A copy of that state, for one test."""
    return shutil.copytree(kept_state, tmp_path / "state")


class Interrupted(Exception):
    pass


@pytest.mark.slow
class TestATrainingThatIsBrokenOff:
    @pytest.mark.parametrize(
        ("phase", "epoch"), [("pretraining", 1), ("pretraining", 2), ("training", 1), ("training", 2)]
    )
    def test_goes_on_after_its_last_epoch_and_ends_in_the_same_bits(self, tmp_path, phase, epoch):
        done = []

        def interrupt(where, entry):
            if (where, entry["epoch"]) == (phase, epoch):
                raise Interrupted

        with pytest.raises(Interrupted):
            trained(BOTH, state=tmp_path, progress=interrupt)
        resumed = trained(BOTH, state=tmp_path, progress=lambda where, entry: done.append((where, entry["epoch"])))
        whole = [(where, number) for where in ("pretraining", "training") for number in (1, 2)]
        assert done == whole[whole.index((phase, epoch)) + 1 :]
        assert same(resumed, undisturbed(BOTH))
        assert [entry["loss"] for entry in resumed.history["training"]] == [
            entry["loss"] for entry in undisturbed(BOTH).history["training"]
        ]

    @pytest.mark.timeout(120)
    def test_by_a_kill_in_the_middle_of_an_epoch_ends_in_the_same_bits(self, tmp_path):
        child = multiprocessing.get_context("spawn").Process(target=killed_in_its_fifth_step, args=(tmp_path,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert sorted(path.name for path in tmp_path.iterdir()) == ["pretraining.safetensors", "training.safetensors"]
        done = []
        resumed = trained(BOTH, state=tmp_path, progress=lambda where, entry: done.append((where, entry["epoch"])))
        assert done == [("training", 2)]
        assert same(resumed, undisturbed(BOTH))

    @pytest.mark.parametrize("change", [{"batch_size": 16}, {"seed": 2}, {"averaging": 0.5}])
    def test_begins_anew_under_another_recipe(self, state, change):
        other = dataclasses.replace(RECIPE, **change)
        assert same(trained(other, state=state), trained(other))

    def test_begins_anew_with_other_galaxies(self, state):
        assert same(trained(RECIPE, survey_of(seed=5), state=state), trained(RECIPE, survey_of(seed=5)))

    def test_begins_anew_with_the_same_galaxies_in_other_units(self, state):
        images, magnitudes, redshifts = survey_of()
        other = (3.631 * images, magnitudes, redshifts)
        assert same(trained(RECIPE, other, state=state), trained(RECIPE, other))

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
    def test_says_when_its_state_is_damaged(self, state, share):
        path = state / "training.safetensors"
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(BadCheckpoint, match=r"training.safetensors is damaged .* train with --fresh"):
            trained(RECIPE, state=state)

    def test_leaves_no_half_written_state(self, tmp_path, monkeypatch):
        def full(*_):
            raise OSError("no space left on device")

        monkeypatch.setattr(fitting, "save_file", full)
        with pytest.raises(CosmicError, match=r"cannot write .*training.safetensors: no space left"):
            trained(RECIPE, state=tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_quantile_head_learns_how_far_off_each_redshift_is():
    images, magnitudes, redshifts = survey_of(500)
    noisy = np.arange(500) % 2 > 0
    magnitudes[:, 1:] = np.where(noisy, 22.0, 15.0)[:, None] + 0.01 * magnitudes[:, 1:]
    scatter = np.where(noisy, 0.2, 0.01) * np.random.default_rng(5).normal(size=500)
    galaxies = GalaxySet([Partition("1.pt", images, magnitudes, np.abs(redshifts + scatter) + 0.001)])
    split = galaxies.split(0.3, 1)
    recipe = dataclasses.replace(RECIPE, epochs=15, batch_size=32, learning_rate=5e-3)
    found = train(QUANTILES, recipe, galaxies, split, device="cpu").test
    assert (found.z_q16 < found.z_pred).all() and (found.z_pred < found.z_q84).all()
    width = found.z_q84 - found.z_q16
    assert np.median(width[noisy[split.test]]) > 1.5 * np.median(width[~noisy[split.test]])
    assert np.mean((found.z_spec > found.z_q16) & (found.z_spec < found.z_q84)) == pytest.approx(0.68, abs=0.2)

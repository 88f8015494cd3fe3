"""Galaxies of other bands and cut-outs than u g r i z of 32 x 32: what the partition's facts say is what is read."""

import dataclasses
import json

import numpy as np
import onnx
import pytest

from inference.contract.run_request import RunRequest
from inference.contract.survey_facts import SurveyFacts
from inference.engines.load import open_engine
from inference.errors import BadCheckpoint, BadInput, BadPartition
from inference.model.checkpoint import save
from inference.partitions.partition import Partition, open_partition, write_partition
from inference.storage.store import Store
from tasks.preflight import prepare
from tasks.simulation.survey import Conditions, simulate
from tasks.survey.partitions import open_survey
from tasks.train import for_survey
from tasks.training.galaxies import open_galaxies
from tasks.training.recipe import Recipe
from tests.support.models import TINY, random_model
from tests.support.own_models import OwnModel, exported
from tests.support.surveys import request_of

BUCKET = "cosmicai-test"
SURVEYS = {"griz of 32": ("griz", 32), "grizy of 32": ("grizy", 32), "three bands of 64": ("grz", 64)}


def survey_of(bands, side, count=6):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, len(bands), side, side)).astype(np.float32)
    return images, rng.uniform(15, 22, (count, len(bands))), rng.uniform(0.05, 0.4, count)


@pytest.fixture(params=SURVEYS, ids=list(SURVEYS))
def survey(request, tmp_path):
    """A store with a partition of such galaxies, and the bands and the side."""
    bands, side = SURVEYS[request.param]
    path = tmp_path / BUCKET / "survey" / "1.pt"
    path.parent.mkdir(parents=True)
    write_partition(path, *survey_of(bands, side), SurveyFacts(bands=tuple(bands), pixel_scale=0.262))
    return path, bands, side


def test_partition_of_other_bands_is_read_as_its_facts_say(survey):
    path, bands, side = survey
    part = open_partition(path, "1.pt")
    assert part.image_shape == part.facts.image_shape == (len(bands), side, side)
    assert part.bands[part.reference_band] == "r"
    batch = next(part.batches(4))
    assert batch.images.shape == (4, len(bands), side, side) and batch.magnitudes.shape == (4, len(bands))
    assert part.nbytes == 6 * len(bands) * (4 * side * side + 8)


def test_survey_of_other_bands_is_cut_whole(survey):
    path, bands, _ = survey
    galaxies, bad = open_survey(path).usable()
    assert not bad and galaxies.facts.bands == tuple(bands)
    part = open_partition(path, "1.pt")
    assert np.array_equal(next(galaxies.batches(6)).images, np.asarray(part.images))


def test_model_must_take_the_galaxies_of_the_run(survey, tmp_path):
    _, bands, side = survey
    config = dataclasses.replace(TINY, bands=len(bands), image_size=side)
    save(tmp_path / "own.safetensors", random_model(config))
    request = RunRequest.read(request_of(model=str(tmp_path / "own.safetensors"), engine="torch"))
    found = prepare(request, str(tmp_path), "local", 1)
    assert open_engine("torch", found.weights.path).image_shape == (len(bands), side, side)
    save(tmp_path / "own.safetensors", random_model(dataclasses.replace(TINY, bands=2)))
    with pytest.raises(BadCheckpoint, match=rf"2 bands and 32 pixels a side; partitions hold {len(bands)} and {side}"):
        prepare(request, str(tmp_path), "local", 1)


def test_training_takes_bands_and_size_from_the_galaxies(survey, tmp_path):
    _, bands, side = survey
    galaxies = open_galaxies(f"{BUCKET}/survey", Store(tmp_path))
    config, recipe = for_survey(TINY, Recipe(), galaxies.facts)
    assert config == dataclasses.replace(TINY, bands=len(bands), image_size=side)
    assert recipe.data.bands == tuple(bands)
    assert galaxies.images(np.array([0, 3])).shape == (2, len(bands), side, side)
    with pytest.raises(BadInput, match="the recipe's model takes 2 bands of 32 pixels"):
        for_survey(dataclasses.replace(TINY, bands=2), Recipe(), galaxies.facts)
    assert for_survey(TINY, Recipe(), SurveyFacts()) == (TINY, Recipe()), "without facts all is as usual"


def test_partition_without_facts_must_be_of_the_usual_form():
    with pytest.raises(BadPartition, match=r"images must be float32 of shape \(N, 5, 32, 32\)"):
        Partition("1.pt", *survey_of("griz", 32))
    with pytest.raises(BadPartition, match=r"images must be float32 of shape \(N, 3, 32, 32\)"):
        Partition("1.pt", *survey_of("griz", 32), facts=SurveyFacts(bands=("g", "r", "z")))
    with pytest.raises(BadPartition, match=r"sample 0 has an implausible magnitude: y is 99"):
        images, magnitudes, redshifts = survey_of("grizy", 32)
        magnitudes[0, 4] = 99
        next(Partition("1.pt", images, magnitudes, redshifts, facts=SurveyFacts(bands=tuple("grizy"))).batches(3))


def test_simulated_bands_are_those_of_the_whole_survey():
    whole = simulate(3, 7, 1)
    some = simulate(3, 7, 1, conditions=Conditions(bands="zg"))
    assert np.array_equal(some.images, whole.images[:, [4, 1]])
    assert np.array_equal(some.magnitudes, whole.magnitudes[:, [4, 1]])
    with_y = simulate(3, 7, 1, conditions=Conditions(bands="grizy"))
    assert np.array_equal(with_y.images[:, :4], whole.images[:, 1:]), "y changes nothing of the others"
    assert np.array_equal(with_y.magnitudes[:, :4], whole.magnitudes[:, 1:])
    assert np.all(np.abs(with_y.magnitudes[:, 4] - with_y.magnitudes[:, 3]) < 1)
    assert simulate(1, 7, 1, conditions=Conditions(side=64)).images.shape == (1, 5, 64, 64)
    for wrong, named in (({"bands": "gg"}, "bands must be"), ({"bands": "grizx"}, "bands"), ({"side": 4}, "size")):
        with pytest.raises(BadInput, match=named):
            simulate(1, 7, 1, conditions=Conditions(**wrong))


@pytest.mark.parametrize(("bands", "side"), SURVEYS.values(), ids=list(SURVEYS))
def test_onnx_model_that_names_its_bands_takes_their_galaxies(tmp_path, bands, side):
    shapes = [(2, len(bands), side, side), (2, len(bands))]
    exported(tmp_path / "m.onnx", OwnModel(bands=len(bands)), shapes=shapes)
    if (len(bands), side) != (5, 32):
        with pytest.raises(BadCheckpoint, match=r"images are floating \(B, 5, 32, 32\)"):
            open_engine("onnxruntime", tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.helper.set_model_props(model, {"training_data": json.dumps({"bands": list(bands)})})
    onnx.save(model, tmp_path / "m.onnx")
    engine = open_engine("onnxruntime", tmp_path / "m.onnx")
    assert engine.image_shape == (len(bands), side, side)
    assert engine.predict(*survey_of(bands, side)[:2]).shape == (6,)

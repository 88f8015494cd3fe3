import json

import numpy as np
import pytest
from safetensors.torch import save_file

from inference.engines.load import open_engine
from inference.errors import BadCheckpoint, BadInput
from inference.model.checkpoint import load, read_header, save
from inference.model.training_data import TrainingData, features
from tests.support.models import TINY, random_galaxies, random_model

FACTS = TrainingData(bands=("u", "g", "r", "i", "z"), pixel_scale=0.396, pixel_unit="nanomaggy", magnitude_system="AB")


def galaxies(count, seed=0):
    """Round sources of magnitude 16 to 20 in five bands whose colours scatter, with noise."""
    rng = np.random.default_rng(seed)
    magnitudes = rng.uniform(16, 20, (count, 1)) + np.array([1.8, 0.6, 0, -0.3, -0.5]) + rng.normal(0, 0.1, (count, 5))
    return drawn(magnitudes, rng.uniform(2.5, 4, count), rng), magnitudes, rng.uniform(0.02, 0.4, count)


def drawn(magnitudes, widths, rng):
    """Cut-outs (B, 5, 32, 32) in nanomaggies of Gaussian sources of some widths in pixels."""
    offsets = np.arange(32) - 15.5
    profile = np.exp(-(offsets[None, :, None] ** 2 + offsets[None, None] ** 2) / (2 * widths[:, None, None] ** 2))
    profile /= profile.sum((1, 2), keepdims=True)
    flux = 10 ** ((22.5 - magnitudes) / 2.5)
    images = flux[..., None, None] * profile[:, None] + rng.normal(0, 1e-3, (*magnitudes.shape, 32, 32))
    return images.astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    return FACTS.with_ranges(*galaxies(4000))


def test_galaxies_like_those_of_the_training_are_in_domain(trained):
    images, magnitudes, redshifts = galaxies(2000, seed=1)
    assert trained.out_of_domain(images, magnitudes, redshifts).mean() < 0.03


STRANGE = {
    "a magnitude that means not measured": lambda images, magnitudes: (
        images,
        np.where([1, 0, 0, 0, 0], -9999.0, magnitudes),
    ),
    "a magnitude that is no number": lambda images, magnitudes: (images, np.where([0, 0, 0, 0, 1], np.nan, magnitudes)),
    "an empty band": lambda images, magnitudes: (
        images * np.array([1, 1, 0, 1, 1], np.float32)[:, None, None],
        magnitudes,
    ),
    "another pixel unit": lambda images, magnitudes: (images * np.float32(3.631e-6), magnitudes),
    "other colours": lambda images, magnitudes: (images, magnitudes + np.array([0, 1.5, 0, 0, 0])),
    "a star": lambda images, magnitudes: (
        drawn(magnitudes, np.full(len(magnitudes), 1.2), np.random.default_rng(2)),
        magnitudes,
    ),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_out_of_domain_flags_what_is_unlike_the_training(kind, trained):
    images, magnitudes, _ = galaxies(50, seed=3)
    assert trained.out_of_domain(*STRANGE[kind](images, magnitudes)).all()


def test_out_of_domain_flags_redshifts_beyond_those_of_the_training(trained):
    images, magnitudes, redshifts = galaxies(50, seed=4)
    usual = trained.out_of_domain(images, magnitudes, redshifts)
    redshifts[7] = 1208.7
    flagged = trained.out_of_domain(images, magnitudes, redshifts)
    assert flagged[7]
    assert (np.delete(flagged, 7) == np.delete(usual, 7)).all()


def test_no_galaxy_is_out_of_domain_where_no_ranges_are_known():
    images, magnitudes, redshifts = galaxies(5)
    assert not FACTS.out_of_domain(images, magnitudes, redshifts).any()


@pytest.mark.parametrize(("bands", "size"), [(1, 8), (3, 64), (5, 32)])
def test_features_exist_for_any_number_of_bands_and_size(bands, size):
    rng = np.random.default_rng(0)
    found = features(rng.normal(size=(3, bands, size, size)).astype(np.float32), rng.normal(20, 1, (3, bands)))
    assert len(found) == 3 * bands
    assert {values.shape for values in found.values()} == {(3,)}
    assert all(np.isfinite(values).all() for values in found.values())


def test_facts_come_back_from_the_header_and_from_the_graph(tmp_path, trained):
    path = tmp_path / "model.safetensors"
    save(path, random_model(TINY), training_data=trained)
    assert read_header(path) == (TINY, trained)
    engine = open_engine("onnxruntime", path)
    assert engine.training_data == trained


def test_file_without_facts_is_as_valid_and_the_same_bytes_as_before(tmp_path):
    path, with_facts = tmp_path / "model.safetensors", tmp_path / "facts.safetensors"
    save(path, random_model(TINY))
    save(with_facts, random_model(TINY), training_data=FACTS)
    assert read_header(path) == (TINY, None)
    assert b"training_data" not in path.read_bytes()
    engine = open_engine("onnxruntime", path)
    assert engine.training_data is None
    images, magnitudes = random_galaxies(TINY, 4)
    assert (
        engine.predict(images, magnitudes) == open_engine("onnxruntime", with_facts).predict(images, magnitudes)
    ).all()


def test_facts_of_a_later_version_are_left_out():
    assert TrainingData.from_dict(FACTS.to_dict() | {"depth": 27.1}) == FACTS


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("bands", "ugriz"),
        ("bands", []),
        ("bands", ["g", "g"]),
        ("bands", ["g", "\x1b"]),
        ("pixel_scale", 0),
        ("pixel_scale", "0.4"),
        ("pixel_scale", float("nan")),
        ("pixel_unit", 3),
        ("magnitude_system", "A" * 50),
        ("ranges", [1, 2]),
        ("ranges", {"redshift": [2, 1]}),
        ("ranges", {"redshift": [1]}),
        ("ranges", {"redshift": [0, float("inf")]}),
    ],
)
def test_wrong_facts_are_refused_by_name(fact, value, tmp_path):
    with pytest.raises(BadInput, match=fact.removesuffix("s")):
        TrainingData.from_dict({fact: value})
    path = tmp_path / "model.safetensors"
    header = json.dumps({"format": 1, "config": TINY.to_dict(), "training_data": {fact: value}})
    save_file(random_model(TINY).state_dict(), path, {"cosmic": header})
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors"):
        load(path)

import numpy as np
import pytest

from inference.engines.load import open_engine
from inference.errors import BadInput
from inference.model.checkpoint import load, save
from tasks.training.new_model import SIZES, new_model, random_tensors
from tests.support.models import KINDS, random_galaxies


@pytest.mark.parametrize("kind", KINDS)
def test_new_model_of_any_config_has_what_a_checkpoint_must_have(kind, tmp_path):
    from inference.model.astromae import AstroMAE

    tensors = random_tensors(KINDS[kind], 0)
    wanted = AstroMAE(KINDS[kind]).state_dict()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in wanted.items()
    }


def test_new_model_is_as_torch_saves_it_and_says_it_is_random(tmp_path):
    path = tmp_path / "small.safetensors"
    path.write_bytes(new_model("small", 3))
    model = load(path)
    assert model.config == SIZES["small"]
    card = {"weights": "random, trained on nothing: for timing, not for redshifts", "size": "small", "seed": 3}
    save(tmp_path / "torch.safetensors", model, card)
    assert (tmp_path / "torch.safetensors").read_bytes() == path.read_bytes()


def test_new_model_gives_ordinary_numbers_that_differ_between_galaxies(tmp_path):
    path = tmp_path / "small.safetensors"
    path.write_bytes(new_model("small", 0))
    engine = open_engine("onnxruntime", path)
    found = engine.predict(*random_galaxies(SIZES["small"], 8))
    assert np.isfinite(found).all()
    assert 1e-3 < found.std() < 1e3


def test_same_seed_gives_the_same_bytes_and_another_seed_others():
    assert new_model("small", 1) == new_model("small", 1)
    assert new_model("small", 1) != new_model("small", 2)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(BadInput, match="seed"):
        new_model("small", seed)

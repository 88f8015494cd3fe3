import sys

import pytest

from inference.engines.load import open_engine
from inference.errors import BadInput
from inference.model.checkpoint import load, save
from tasks.checkpoint_import.convert import import_checkpoint
from tests.support.models import TINY, random_galaxies, random_model


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    save(path, random_model(TINY))
    return path


NEEDING = {
    "engine torch": lambda path: open_engine("torch", path),
    "a model in torch": load,
    "import-checkpoint": lambda path: import_checkpoint(path, path.with_name("out.safetensors")),
}


@pytest.mark.parametrize("what", NEEDING)
def test_what_needs_torch_names_the_extra_where_it_is_missing(what, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BadInput, match=rf"^{what} needs torch, .*pip install 'cosmic-flows\[train\]'$"):
        NEEDING[what](weights)


def test_engine_onnxruntime_needs_no_torch(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert open_engine("onnxruntime", weights).predict(*random_galaxies(TINY, 3)).shape == (3,)

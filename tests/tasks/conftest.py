import pytest

from inference.model.checkpoint import save
from tests.support.models import TINY, random_model
from tests.support.surveys import write_survey


@pytest.fixture
def survey_store(tmp_path):
    """A store with a survey of four partitions and a model."""
    root = tmp_path / "store"
    write_survey(root / "cosmicai-test" / "survey")
    (root / "cosmicai-test" / "models").mkdir()
    save(root / "cosmicai-test" / "models" / "tiny.safetensors", random_model(TINY))
    return root

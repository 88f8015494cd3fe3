import json

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.model.checkpoint import save
from inference.runs.plan import Model, make_plan, payload, read_request
from inference.storage.store import Store
from tests.support.models import TINY, random_model
from tests.support.surveys import request_of, write_survey

BUCKET, PATH = "cosmicai-test", "results/test"


@pytest.fixture
def root(tmp_path):
    """A store with a survey of four partitions and a model."""
    root = tmp_path / "store"
    write_survey(root / BUCKET / "survey")
    (root / BUCKET / "models").mkdir()
    save(root / BUCKET / "models" / "tiny.safetensors", random_model(TINY))
    return root


def request(**changes):
    return RunRequest.read(request_of(engine="torch", **changes))


class TestReadingARequestBack:
    def kept(self, root, wanted):
        store = Store(root)
        plan = make_plan(wanted, store.list(BUCKET, "survey"), Model("models/tiny.safetensors", "ab" * 32), store.root)
        store.write(BUCKET, f"{PATH}/payload.json", json.dumps(payload(wanted, plan, "run")).encode())
        return read_request(store, BUCKET, PATH)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"world_size": "3", "order": "lexicographic", "max_concurrency": 2, "rank_timeout": 12.5},
            {"partition": {"source": "survey.pt", "size": "25MB"}, "memory_mb": 1024, "architecture": "arm64"},
        ],
    )
    def test_it_is_the_request_that_was_run_with_its_ranks_counted(self, root, changes):
        wanted = request(**changes)
        assert self.kept(root, wanted) == wanted.model_copy(update={"world_size": wanted.world_size or 4})

    def test_what_is_read_back_plans_the_same_ranks(self, root):
        wanted = request()
        again = self.kept(root, wanted)
        assert self.kept(root, again) == again

    def test_a_result_path_without_a_run_is_told_by_name(self, root):
        with pytest.raises(BadInput, match=f"no run under {BUCKET}/{PATH}"):
            read_request(Store(root), BUCKET, PATH)

    @pytest.mark.parametrize(
        "text",
        ["", "{", "null", "[]", '["bucket"]', "7", "{}", '{"bucket": 7}', '"bucket"', "[" * 20_000, b"\xff"],
    )
    def test_a_damaged_payload_is_told_by_name(self, root, text):
        store = Store(root)
        store.write(BUCKET, f"{PATH}/payload.json", text if isinstance(text, bytes) else text.encode())
        with pytest.raises(BadInput, match=rf"{BUCKET}/{PATH}/payload\.json ") as raised:
            read_request(store, BUCKET, PATH)
        assert "\n" not in str(raised.value)

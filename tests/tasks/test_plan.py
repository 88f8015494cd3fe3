import json

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.runs.plan import Model, make_plan, payload, read_request
from inference.storage.store import Store
from tests.support.surveys import request_of

BUCKET, PATH = "cosmicai-test", "results/test"


def request(**changes):
    return RunRequest.read(request_of(engine="torch", **changes))


class TestReadingARequestBack:
    def kept(self, survey_store, wanted):
        store = Store(survey_store)
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
    def test_it_is_the_request_that_was_run_with_its_ranks_counted(self, survey_store, changes):
        wanted = request(**changes)
        assert self.kept(survey_store, wanted) == wanted.model_copy(update={"world_size": wanted.world_size or 4})

    def test_what_is_read_back_plans_the_same_ranks(self, survey_store):
        wanted = request()
        again = self.kept(survey_store, wanted)
        assert self.kept(survey_store, again) == again

    def test_a_result_path_without_a_run_is_named(self, survey_store):
        with pytest.raises(BadInput, match=f"no run under {BUCKET}/{PATH}"):
            read_request(Store(survey_store), BUCKET, PATH)

    @pytest.mark.parametrize(
        "text",
        ["", "{", "null", "[]", '["bucket"]', "7", "{}", '{"bucket": 7}', '"bucket"', "[" * 20_000, b"\xff"],
    )
    def test_a_damaged_payload_is_named(self, survey_store, text):
        store = Store(survey_store)
        store.write(BUCKET, f"{PATH}/payload.json", text if isinstance(text, bytes) else text.encode())
        with pytest.raises(BadInput, match=rf"{BUCKET}/{PATH}/payload\.json ") as raised:
            read_request(store, BUCKET, PATH)
        assert "\n" not in str(raised.value)

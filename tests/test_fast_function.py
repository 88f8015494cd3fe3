"""The stand-in for the executor's function answers as the function does, so that long proofs do not go stale."""

from types import SimpleNamespace

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.storage.store import Store
from tests.support import fast_function

EVENT = RankEvent(
    rank=1,
    world_size=2,
    bucket="survey-bucket",
    result_bucket="survey-bucket",
    data_bucket="survey-bucket",
    data_prefix="survey",
    data_paths=("survey/1.pt",),
    result_path="results/a",
    batch_size=4,
    model="model.safetensors",
    model_sha256="0" * 64,
    fingerprint="0" * 16,
)


def test_fast_function_answers_with_a_rank_result_that_is_accepted(tmp_path, monkeypatch):
    (tmp_path / "survey-bucket").mkdir()
    monkeypatch.setattr(fast_function, "STORE", Store(str(tmp_path)))
    answer = fast_function.handler(EVENT.to_wire(), SimpleNamespace(aws_request_id="request-1"))
    result = RankResult.from_wire(answer)
    assert (result.rank, result.world_size, result.samples, result.request_id) == (1, 2, 3, "request-1")
    assert (tmp_path / "survey-bucket" / result.predictions_path).is_file()

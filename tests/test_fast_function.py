"""The stand-in for the executor's function answers as the function does, so that long proofs do not go stale."""

from dataclasses import replace
from types import SimpleNamespace

from inference.contract.rank_result import RankResult
from inference.storage.store import Store
from tests.support import fast_function
from tests.support.wire_examples import EVENT


def test_fast_function_answers_with_a_rank_result_that_is_accepted(tmp_path, monkeypatch):
    event = replace(EVENT, rank=1, world_size=2)
    (tmp_path / event.result_bucket).mkdir()
    monkeypatch.setattr(fast_function, "STORE", Store(str(tmp_path)))
    answer = fast_function.handler(event.to_wire(), SimpleNamespace(aws_request_id="request-1"))
    result = RankResult.from_wire(answer)
    assert (result.rank, result.world_size, result.samples, result.request_id) == (1, 2, 3, "request-1")
    assert (tmp_path / event.result_bucket / result.predictions_path).is_file()

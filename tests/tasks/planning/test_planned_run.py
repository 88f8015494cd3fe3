import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.planning.planned_run import predict_request
from tests.support.surveys import SIZES, request_of

PAPER = {"model": None, "partition": {"source": "none.pt", "size": "50MB"}}


def test_without_history_what_is_shipped_predicts_and_says_so(store):
    found = predict_request(RunRequest.read(request_of()), str(store), "local", 2)
    assert (found.ranks, found.samples) == (4, sum(SIZES))
    assert "shipped measurements" in found.source
    assert any("not yours" in note for note in found.notes)
    assert found.makespan_s.low <= found.makespan_s.p50 <= found.makespan_s.p90 <= found.makespan_s.high
    assert found.end_to_end_s.p50 > found.makespan_s.p50


def test_a_data_set_on_paper_needs_no_partitions(store):
    found = predict_request(RunRequest.read(request_of(**PAPER)), str(store), "step-functions", None, on_paper="12.6GB")
    assert found.ranks == 259
    assert {"compute", "state transitions"} <= found.lines.keys()
    assert all(check.ok for check in found.checks)


def test_partitions_too_large_for_the_memory_fail_a_check(store):
    request = RunRequest.read(request_of(**PAPER, memory_mb=2048))
    found = predict_request(request, str(store), "lambda", None, on_paper="1GB")
    assert [check.name for check in found.checks if not check.ok] == ["memory"]


def test_a_request_without_partitions_is_refused(store):
    with pytest.raises(BadInput, match="no partitions"):
        predict_request(RunRequest.read(request_of(data_prefix="none")), str(store), "local", 2)

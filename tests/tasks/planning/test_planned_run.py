import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.planning.planned_run import model_of, place_of, predict_request
from tests.support.surveys import SIZES, request_of
from tests.tasks.planning.test_fit import KIND, past

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


@pytest.mark.parametrize(
    ("samples", "is_said"), [((100,), False), ((60, 400, 400), False), ((401, 401), True), ((40,), True)]
)
def test_ranks_of_another_size_than_any_before_are_said(samples, is_said):
    place = place_of(RunRequest.read(request_of()), "local", 1)
    _, notes = model_of([past(samples=(100, 200))], dict(KIND), place, parameters=None, samples=samples)
    assert any(f"and this run's have {samples[-1]}: the prediction reaches beyond" in note for note in notes) == is_said

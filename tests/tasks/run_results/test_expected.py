import pytest

from tasks.run_results.expected import expected_stats
from tasks.run_results.report import report_markdown
from tests.support.reported_run import costs_of, ranks_of, summary_of

PREDICTION = {
    "makespan_s": {"p50": 20.0, "p90": 28.0, "low": 15.0, "high": 30.0},
    "end_to_end_s": {"p50": 30.0, "p90": 38.0, "low": 25.0, "high": 40.0},
    "usd": None,
    "source": "fitted from 3 earlier runs",
}


def run(**changes):
    return {"makespan_s": 25.0, "end_to_end_s": 50.0, "cost": {"usd": 0.1}, "prediction": PREDICTION} | changes


def test_a_whole_run_is_compared_with_what_was_expected():
    makespan, whole = expected_stats(run())
    assert (makespan.label, makespan.value) == ("Makespan", "25 s")
    assert makespan.how.endswith("the prediction was -20% off, the run inside its interval")
    assert whole.how.endswith("-40% off, the run outside its interval")


@pytest.mark.parametrize("changes", [{"ranks_resumed": 2}, {"missing_ranks": [1]}, {"stopped": "by hand"}])
def test_a_run_that_did_not_run_all_its_ranks_is_compared_with_nothing(changes):
    assert "not compared" in expected_stats(run(**changes))[0].how


def test_a_run_without_prediction_has_no_such_section():
    assert expected_stats(run(prediction=None)) == []
    ranks = ranks_of(4)
    assert "Expected" not in report_markdown(summary_of(ranks), ranks, costs_of(ranks))
    assert "## Expected and actual" in report_markdown(
        summary_of(ranks) | {"prediction": PREDICTION}, ranks, costs_of(ranks)
    )

import pytest

from tasks.planning.history import read_run
from tasks.planning.scoring import KEPT, REPLAYED, outcomes, scores
from tests.support.surveys import request_of
from tests.tasks.planning.test_fit import document


def run(factor=1.0, expected=None, **changes):
    kept = {} if expected is None else {"prediction": {"makespan_s": expected}}
    return read_run(document(samples=(100,) * 6, factor=factor, request=request_of(), **kept, **changes), "a run")


def expected(median):
    return {"p50": median, "p90": 1.2 * median, "low": 0.8 * median, "high": 1.3 * median}


def test_a_kept_prediction_is_held_against_its_run():
    makespan = run().makespan_s
    found = outcomes([run(expected=expected(1.1 * makespan)), run(expected=expected(2.0 * makespan))])
    assert [each.how for each in found] == [KEPT, KEPT]
    (score,) = scores(found)
    assert (score.median_error, score.coverage) == (pytest.approx(0.55), 0.5)
    assert score.bias > 0
    assert score.drift is None


def test_a_run_without_prediction_is_replayed_from_those_before_it_only():
    runs = [run(factor) for factor in (1.0, 1.02, 0.98, 1.0, 1.01)]
    found = [each for each in outcomes(runs) if each.figure == "makespan_s"]
    assert [each.how for each in found] == [REPLAYED] * 4  # the first has none before it
    assert scores(found)[0].median_error < 0.1
    assert scores(found)[0].replayed == 4


def test_a_run_that_did_not_run_all_its_ranks_is_not_scored():
    partly = {"ranks_resumed": 2}, {"missing_ranks": [3]}
    assert outcomes([run(expected=expected(1.0), **changes) for changes in partly]) == []


def test_later_runs_that_are_slower_than_expected_show_as_drift():
    runs = [run(factor, expected=expected(run().makespan_s)) for factor in (1.0, 1.0, 1.5, 1.5)]
    assert scores(outcomes(runs))[0].drift < -0.2

import pytest

from tasks.planning.published_series import score_series, series
from tasks.planning.shipped import MEASURED, PUBLISHED, shipped
from tasks.sweeps.local_rates import LOCAL_RATE


def test_the_demo_model_is_as_measured():
    assert shipped("local") == shipped("local", parameters=MEASURED)
    assert "guess" not in shipped("local").source


@pytest.mark.parametrize("parameters", [None, PUBLISHED])
def test_a_model_of_unknown_size_is_taken_for_the_published_one(parameters):
    model = shipped("local", parameters=parameters)
    assert 1 / model.compute.each == pytest.approx(LOCAL_RATE)
    assert "computing is a guess for a model of" in model.source


def test_a_model_between_the_two_takes_a_time_between_theirs():
    times = [shipped("local", parameters=count).compute.each for count in (MEASURED, 2_000_000, PUBLISHED)]
    assert times == sorted(times)
    assert times[1] / times[0] == pytest.approx((2_000_000 / MEASURED) ** 0.62, rel=0.1)


def test_what_is_shipped_for_aws_is_of_the_published_size():
    assert shipped("lambda", parameters=MEASURED) == shipped("lambda", parameters=None)


def test_what_is_shipped_for_aws_agrees_with_the_published_runs():
    found = score_series(series(runs=12))
    assert found["map: median error"] < 0.10
    assert found["end to end: median error"] < 0.15
    assert abs(found["map: bias"]) < 0.08 and abs(found["end to end: bias"]) < 0.08
    assert found["end to end: coverage"] > 0.75

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.planning import best
from tasks.planning.best import Choice, all_choices, best_of
from tasks.planning.best_plot import plot
from tests.support.surveys import request_of


def choice(seconds, dollars, **changes):
    values = {"executor": "lambda", "partition": "25MB", "memory_mb": 1769, "at_once": 100, "precision": "float32"}
    values |= {"backups": False, "ranks": 4, "s": seconds, "s_p90": seconds, "usd": dollars, "usd_p90": dollars}
    return Choice(**values | changes)


FAST, MIDDLE, CHEAP = choice(10.0, 5.0), choice(30.0, 3.0), choice(90.0, 1.0)


def test_a_deadline_gives_the_cheapest_a_budget_the_fastest():
    choices = [FAST, MIDDLE, CHEAP]
    assert best_of(choices, 60.0, None) == MIDDLE
    assert best_of(choices, None, 2.0) == CHEAP
    assert best_of(choices, 60.0, 4.0) == MIDDLE


def test_limits_are_met_in_nine_of_ten_and_the_expected_figure_decides():
    sure, quick = choice(20.0, 1.0, s_p90=25.0), choice(18.0, 2.0, s_p90=40.0)
    assert best_of([sure, quick], None, 5.0) == quick
    assert best_of([sure, quick], 30.0, None) == sure
    dear = choice(10.0, 1.0, usd_p90=9.0)
    assert best_of([sure, quick, dear], None, 5.0) == quick


@pytest.mark.parametrize(
    ("deadline", "budget", "nearest"),
    [
        (60.0, 2.0, "the cheapest in that time costs \\$3.00, and the fastest for that money takes 90.0 s"),
        (5.0, None, "the fastest takes 10.0 s and costs \\$5.00"),
        (None, 0.5, "the cheapest costs \\$1.00 and takes 90.0 s"),
    ],
)
def test_contradictory_limits_are_refused_with_the_nearest_way(deadline, budget, nearest):
    with pytest.raises(BadInput, match=nearest):
        best_of([FAST, MIDDLE, CHEAP], deadline, budget)


def test_a_request_is_written_as_the_best_configuration_needs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(best, "MEMORIES_MB", (3_538, 10_240))
    monkeypatch.setattr(best, "PARTITIONS", ("25MB", "50MB"))
    request = RunRequest.read(request_of(model=None, partition={"source": "survey.pt", "size": "100MB"}))
    choices, notes = all_choices(request, str(tmp_path), "lambda", "250MB")
    assert {each.executor for each in choices} == {"lambda", "step-functions"}
    assert any("int8: left out, no earlier run tells" in note for note in notes)
    chosen = best_of(choices, None, 10.0)
    assert chosen.front
    written = RunRequest.read(chosen.request(request))
    assert (written.partition.size, written.memory_mb) == (chosen.partition, chosen.memory_mb)
    assert written.file_limit == chosen.ranks
    assert plot(choices, chosen).startswith(b"\x89PNG")


def test_what_a_state_machine_refuses_is_left_out_of_its_request():
    source = {"partition": {"source": "survey.pt", "size": "100MB"}}
    request = RunRequest.read(request_of(model=None, hedging=True, world_size=20, **source))
    written = RunRequest.read(choice(10.0, 1.0, executor="step-functions").request(request))
    assert (written.hedging, written.world_size) == (RunRequest.read(request_of()).hedging, None)
    assert RunRequest.read(choice(10.0, 1.0, backups=True).request(request)).hedging


def test_no_way_is_recommended_that_max_cost_would_refuse():
    assert best_of([FAST, MIDDLE, CHEAP], 60.0, None, max_cost=3.5) == MIDDLE
    assert best_of([FAST, CHEAP], None, 10.0, max_cost=3.5) == CHEAP
    with pytest.raises(BadInput, match=r"nothing meets max_cost, \$0.5: the cheapest costs \$1.00"):
        best_of([FAST, CHEAP], None, 10.0, max_cost=0.5)


def test_partitions_that_lie_there_stay_and_it_is_said(store):
    choices, notes = all_choices(RunRequest.read(request_of()), str(store), "local")
    assert {each.partition for each in choices} == {None}
    assert any("stay as they lie there" in note for note in notes)

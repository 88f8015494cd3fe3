from random import Random

import pytest

from tasks.planning.environments import Break, chance, environments
from tasks.planning.history import read_run
from tests.tasks.planning.test_fit import document

WANTED = {"executor": "lambda", "function": "f", "model": "ab", "memory": 1769, "engine": "onnxruntime"}


def run(began, *workers, cold=False, **changes):
    """A run of a function whose ranks, one an environment, take a second each."""
    written = document(samples=(100,) * len(workers), executor="lambda", function="f", function_memory_mb=1769)
    for row, worker in zip(written["ranks"], workers, strict=True):
        row |= {"worker": worker, "cold": cold, "started_at": began, "ended_at": began + 1.0}
    return read_run(written | changes, "a run")


def warm(runs, now, **wanted):
    found = environments(runs, WANTED | wanted, now)
    random = Random(1)
    return sum(len(found.draw(random)) for _ in range(1000)) / 1000


def test_environments_of_a_run_before_are_warm_for_minutes_and_then_gone():
    runs = [run(0.0, "a", "b", cold=True)]
    assert warm(runs, 11.0) == 2.0
    assert 0.3 < warm(runs, 1000.0) < 1.5
    assert warm(runs, 3600.0) == 0.0


@pytest.mark.parametrize(
    "changes", [{"function": "g"}, {"function_modified": "yesterday"}, {"function_memory_mb": 10240}]
)
def test_another_function_code_or_memory_leaves_nothing_warm(changes):
    assert warm([run(0.0, "a", cold=True, **changes)], 11.0, modified="today") == 0.0


def test_an_environment_of_another_model_is_warm_and_loads_its_model():
    runs = [run(0.0, "a", "b", cold=True, model={"sha256": "cd"}), run(5.0, "a")]
    assert environments(runs, WANTED, 10.0).draw(Random(1)) == [False, True]  # the last used, first, holds the model


def test_breaks_that_were_survived_or_not_outweigh_what_is_assumed():
    survived = [run(2000.0 * number, "a", cold=number == 0) for number in range(10)]
    assert warm(survived, 19_800.0) > 0.9  # half an hour
    lost = [run(100.0 * number, f"worker {number}", cold=True) for number in range(10)]
    assert warm(lost, 1000.0) < 0.2


def test_a_longer_break_survived_and_a_shorter_one_not_are_evidence():
    assert chance(100.0, [Break(50.0, 1.0), Break(200.0, 0.0)], 0.3) == 0.3  # both tell nothing of this one
    assert chance(100.0, [Break(100.0, 1.0)], 0.0) == 0.5


def test_processes_of_this_machine_end_with_their_run():
    runs = [run(0.0, "a", cold=True, executor="local", function=None)]
    assert warm(runs, 2.0, executor="local", function=None) == 0.0


def test_what_was_assumed_of_environments_is_said():
    found = environments([run(0.0, "a", "b", cold=True)], WANTED, 13.0)
    assert found.sentence == "2 environments of earlier runs, idle for 12 s, assumed to be gone with P(cold) = 0.00"
    assert environments([], WANTED, 13.0).sentence is None


def test_an_environment_that_was_busy_with_another_run_is_not_gone():
    runs = [run(0.0, "a", cold=True), run(0.5, "b", cold=True)]
    assert warm(runs, 11.0) == 2.0

import pytest

from tasks.sweeps import run_times
from tasks.sweeps.run_times import RunTimes


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    seconds = [0.0]
    monkeypatch.setattr(run_times.time, "monotonic", lambda: seconds[0])
    return seconds


def test_time_left_is_not_shown_before_the_first_run():
    assert RunTimes().left(["a", "b"]) == ""


def test_time_left_is_of_a_cells_own_runs_else_of_the_mean_of_all(clock):
    times = RunTimes()
    for cell, seconds in (("short", 10.0), ("long", 50.0)):
        with times.of(cell):
            clock[0] += seconds
    assert times.left(["short", "long", "new"]) == "; about 1 min 30 s of this sweep left"


def test_time_of_a_run_that_fails_counts(clock):
    times = RunTimes()
    with pytest.raises(OSError), times.of("failing"):
        clock[0] += 7.0
        raise OSError
    assert times.left(["failing"]) == "; about 7 s of this sweep left"

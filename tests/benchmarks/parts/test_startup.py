import pytest

from benchmarks.parts.startup import targets_of

TAKEN = {
    "none": [5.0, 5.2],
    "running": [2.0, 2.2],
    "to prompt, none": [8.0, 9.0],
    "to prompt, running": [3.0, 5.0],
    "after the last of 8": [0.9, 0.9],
    "after the last of 1,000": [2.5, 2.5],
    "import prefect": [1.5, 2.0],
    "floor": [6.0, 6.0],
    "help": [0.1, 0.1],
    "bare": [0.03, 0.03],
}


def test_targets_of_startup_are_taken_within_a_turn():
    by_what = {target.what: target for target in targets_of(TAKEN, 12.0)}
    assert len(by_what) == 7
    prompt = by_what["8 tiny ranks, server running: to the prompt, over import prefect"]
    assert prompt.ratio == pytest.approx((3.0 / 1.5 + 5.0 / 2.0) / 2)
    assert not prompt.reached
    more = by_what["8 tiny ranks, no server: seconds more than its import"]
    assert more.ratio == pytest.approx(2.5)
    assert by_what["8 tiny ranks: seconds from the last one to the prompt"].reached
    assert not by_what["1,000 tiny ranks: seconds from the last one to the prompt"].reached

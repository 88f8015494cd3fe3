import os

import pytest

from benchmarks.support.quiet_machine import alone, measured


def test_what_is_measured_has_a_process_of_its_own():
    assert alone(os.getpid) not in {os.getpid(), alone(os.getpid)}


def test_what_goes_wrong_there_is_raised_here():
    with pytest.raises(ModuleNotFoundError, match=r"benchmarks\.parts\.none"):
        alone(measured, "none")

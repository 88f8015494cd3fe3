import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference.resource_usage import Stopwatch, vector_instructions


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_stage_counts_the_seconds_of_all_its_blocks_and_no_others():
    clock = Stopwatch()
    for _ in range(2):
        with clock.stage("compute"):
            spin(0.01)
    with clock.stage("write"):
        time.sleep(0.01)
    seconds = clock.seconds()
    assert seconds["cpu_compute_s"] >= 0.02
    assert seconds["wall_compute_s"] > 0
    assert seconds["wall_write_s"] >= 0.009, "sleeping counts to the wall's seconds"
    assert seconds["wall_load_s"] == seconds["wall_read_s"] == seconds["cpu_load_s"] == 0
    assert seconds["wall_total_s"] >= seconds["wall_compute_s"] + seconds["wall_write_s"]
    assert seconds["cpu_total_s"] >= seconds["cpu_compute_s"] + seconds["cpu_write_s"]


def test_the_loop_holds_the_stages_inside_it():
    clock = Stopwatch()
    with clock.loop():
        with clock.stage("read"):
            spin(0.005)
        with clock.stage("compute"):
            spin(0.005)
    seconds = clock.seconds()
    assert seconds["wall_total_s"] >= seconds["wall_loop_s"] >= seconds["wall_read_s"] + seconds["wall_compute_s"]
    assert "cpu_loop_s" not in seconds


def test_an_unknown_stage_is_a_mistake():
    with pytest.raises(KeyError), Stopwatch().stage("lunch"):
        pass


PEAKS = """
from inference.resource_usage import peak_memory_mb, reset_peak_memory
before = reset_peak_memory()
block = bytearray(64_000_000)
block[::4096] = b"x" * len(block[::4096])
del block
print(before, peak_memory_mb(), reset_peak_memory(), peak_memory_mb())
"""


def test_the_peak_takes_in_memory_that_was_given_back_until_it_is_reset():
    # In a process of its own: here other tests' threads may still give back, or take, what they like.
    message = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True).stdout
    before, peak, now, peak_now = map(float, message.split())
    assert peak > before + 50
    assert now < before + 50
    assert peak_now < before + 50, "an earlier rank's peak is not this one's"


def test_instructions_of_this_processor_are_known():
    known = vector_instructions().split()
    assert known, "the architecture, where no instructions are"
    assert all(name in Path("/proc/cpuinfo").read_text() or name == platform.machine() for name in known)

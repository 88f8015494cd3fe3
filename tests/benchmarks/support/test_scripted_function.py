"""The times of the scripted endpoint are written down before any call, and clients find it during a run only."""

import os
from statistics import median

import pytest

from benchmarks.support.scripted_function import RANK_S, Script


def times_of(seed, calls=200):
    script = Script("http://127.0.0.1:1", seed)
    with script.a_run():
        return [script.seconds() for _ in range(calls)]


def test_times_are_the_same_for_the_same_seed_and_lie_about_the_ranks():
    assert times_of(1) == times_of(1) != times_of(2)
    assert median(times_of(3)) == pytest.approx(RANK_S, rel=0.25)


def test_lambda_clients_find_the_endpoint_during_a_run_only():
    assert "AWS_ENDPOINT_URL_LAMBDA" not in os.environ
    with Script("http://127.0.0.1:1", 0).a_run():
        assert os.environ["AWS_ENDPOINT_URL_LAMBDA"] == "http://127.0.0.1:1"
    assert "AWS_ENDPOINT_URL_LAMBDA" not in os.environ

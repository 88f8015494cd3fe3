import logging

import pytest
from prefect import flow, task
from prefect.states import Failed

from tasks.prefect_support.last_line import did, ended
from tests.support.prefect_command import reporting_to

pytestmark = pytest.mark.slow


def last_lines(records):
    return [each.getMessage() for each in records if each.name in {"prefect.task_runs", "prefect.flow_runs"}]


def test_last_line_is_the_runs_own_sentence_only_in_its_state(prefect_server, caplog):
    @task
    def fails():
        did("written")
        return Failed(message="the disk is full")

    @task
    def says_why():
        ended("rank 3: the disk is full", "Failed")
        return Failed(message="the disk is full")

    @task
    def says_nothing():
        pass

    @flow
    def work():
        for step in (fails, says_why, says_nothing):
            step(return_state=True)
        did("three steps called")

    with reporting_to(prefect_server), caplog.at_level(logging.INFO, "prefect"):
        work()
    lines = last_lines(caplog.records)
    assert lines[-1].startswith("three steps called, in ")
    assert "Finished in state Failed('the disk is full')" in lines
    assert "rank 3: the disk is full" in lines
    assert "Finished in state Completed()" in lines


def test_did_is_silent_outside_of_a_run():
    did("nothing that anybody is shown")

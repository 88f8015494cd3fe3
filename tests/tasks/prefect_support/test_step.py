"""What Prefect does with the arguments of a step."""

import pytest
from prefect import flow

from tasks.prefect_support.step import step, whole
from tests.support.prefect_command import reporting_to

pytestmark = pytest.mark.slow


class Walked(list):
    """A list that counts how often somebody goes through it."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def test_a_whole_argument_is_not_walked_through(prefect_server):
    ranks = Walked(range(3))

    @step("count")
    def count(given):
        assert given is ranks
        return len(given)

    @flow
    def work():
        return count(whole(ranks))

    with reporting_to(prefect_server):
        assert (work(), ranks.times) == (3, 0)

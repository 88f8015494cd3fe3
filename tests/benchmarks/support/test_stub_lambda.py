"""The benchmark's endpoint: what it answers is what Lambda would, and what it served is counted."""

import pytest

from benchmarks.parts.fanout_client import bare, events_of
from benchmarks.support.stub_lambda import serving
from tasks.executors.aws_lambda import LambdaExecutor


@pytest.fixture(scope="module")
def stub():
    with serving(0.0) as stub:
        yield stub


def calls_of(events, at_once=8):
    executor = LambdaExecutor("stub", at_once)
    executor.check()
    with executor:
        return [call.result(timeout=60) for call in executor.submit(events)]


@pytest.mark.slow
class TestStub:
    def test_every_rank_gets_a_result_of_its_own_with_what_is_billed(self, stub):
        stub.plan(0.004)
        calls = calls_of(events_of(50))
        assert [call.error for call in calls] == [None] * 50
        assert [call.result.rank for call in calls] == list(range(50))
        assert {(call.billed_s, call.billed_how) for call in calls} == {(0.004, "REPORT line")}
        assert len({call.request_id for call in calls}) == 50
        assert stub.served() == {"calls": 50, "billed_s": pytest.approx(0.2)}

    def test_a_ranks_first_call_takes_its_own_time_and_later_ones_a_drawn_one(self, stub):
        own = [rank / 1e3 for rank in range(5)]
        stub.plan(0.0, own, seed=3)
        first = calls_of(events_of(5))
        again = calls_of(events_of(5))
        assert [call.billed_s for call in first] == own
        assert {call.billed_s for call in again} <= set(own)
        assert stub.served()["calls"] == 10

    def test_the_bare_client_gets_the_same_answers(self, stub):
        stub.plan(0.0)
        assert bare(events_of(20), 8)["done"] == 20
        assert stub.served()["calls"] == 20

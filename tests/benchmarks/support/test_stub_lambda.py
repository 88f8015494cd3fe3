"""The benchmark's endpoint: what it answers is what Lambda would, and what it served is counted."""

import os

import pytest

from benchmarks.parts.fanout_client import bare, events_of
from benchmarks.support.stub_lambda import serving
from inference.errors import CosmicError
from tasks.executors.aws_lambda import LambdaExecutor


@pytest.fixture(scope="module", params=[False, True], ids=["http", "TLS"])
def stub(request):
    with serving(0.0, tls=request.param) as stub:
        assert stub.url.startswith("https://" if request.param else "http://")
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


@pytest.mark.slow
def test_a_client_that_does_not_trust_the_certificate_calls_nothing():
    with serving(0.0, tls=True) as stub:
        del os.environ["AWS_CA_BUNDLE"]
        with pytest.raises(CosmicError, match=r"(?i)certificate|ssl"):
            LambdaExecutor("stub", 1).check()
        assert stub.served()["calls"] == 0

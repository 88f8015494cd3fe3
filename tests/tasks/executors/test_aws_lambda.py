"""The Lambda executor against an endpoint whose every answer is written down; how often it was called is counted."""

import dataclasses
import json
import re
import threading

import boto3
import pytest
from botocore.config import Config

from inference.contract.rank_event import RankEvent
from inference.contract.script import Script
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.dispatch.dispatcher import Dispatcher, Limits
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.executors.base import NothingRan
from tasks.invocations.ledger import Ledger
from tests.conftest import events_of
from tests.support.scripted_lambda import Answer, serving
from tests.support.wire_examples import EVENT, RESULT

BUCKET = EVENT.bucket


@pytest.fixture
def events(tmp_path):
    return [dataclasses.replace(event, store=str(tmp_path)) for event in events_of(8)]


def result_for(event, request_id):
    rank = RankEvent.from_wire(event)
    return dataclasses.replace(
        RESULT,
        rank=rank.rank,
        world_size=rank.world_size,
        attempt=rank.attempt,
        data_path=rank.data_paths[0],
        predictions_path=f"results/test/predictions/{rank.rank}.1-a.safetensors",
        request_id=request_id,
        cold=False,
    ).to_wire()


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    """The scripted Lambda; its ranks put their results into a local store, as real ones would on S3."""
    store = Store(tmp_path)

    def work(event, request_id):
        result = result_for(event, request_id)
        store.write(BUCKET, result["predictions_path"], b"redshifts")
        store.create(BUCKET, f"results/test/{event['RANK']}.json", json.dumps(result).encode())
        return result

    with serving(work) as (endpoint, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # no CloudWatch: nobody answers
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "canary-secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield endpoint


def executor(**changes):
    return LambdaExecutor("f", **{"concurrency": 4, "lost_for_s": 1.0, "refused_for_s": 20.0} | changes)


def invoke(event, **changes):
    with executor(**changes) as lambdas:
        return invoke_on(lambdas, event)


def invoke_on(lambdas, event):
    (call,) = lambdas.submit([event])
    return call.result()


def failed(kind, message):
    return Answer(function_error="Unhandled", body=json.dumps({"errorType": kind, "errorMessage": message}).encode())


def test_a_ranks_reply_is_its_result_and_the_report_line_its_bill(endpoint, events):
    call = invoke(events[3])
    assert call.error is None
    assert (call.result.rank, call.request_id, call.attempt) == (3, "request-3-1", 1)
    assert (call.duration_s, call.billed_s, call.init_s) == (1.5005, 1.9, 0.38025)
    assert (call.memory_mb, call.max_memory_mb, call.cold) == (10_240, 512.0, True)
    assert call.billed_how == "REPORT line"


def test_a_slower_copy_with_the_faster_result_is_billed_as_itself(endpoint, events):
    endpoint.script(0, Answer(body=lambda event: json.dumps(result_for(event, "the-faster")).encode()))
    call = invoke(events[0])
    assert (call.request_id, call.billed_how) == ("request-0-1", "REPORT line")


@pytest.mark.slow
def test_without_a_report_line_the_time_is_measured_and_says_so(endpoint, events, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # of the log's client: no log is here
    endpoint.script(0, Answer(tail=False))
    with executor() as lambdas:
        call = invoke_on(lambdas, events[0])
        (settled,) = lambdas.settle([call])
    assert settled.billed_how == "measured here, an estimate"
    assert settled.billed_s == pytest.approx(call.ended_at - call.started_at)
    assert not settled.cold


@pytest.mark.parametrize(("status", "refusals"), [(429, 3), (500, 1), (502, 1), (503, 1)])
def test_a_refusal_is_backed_off_from_and_uses_up_no_attempt(endpoint, events, status, refusals):
    endpoint.script(0, *[Answer(status=status)] * refusals)
    call = invoke(events[0])
    assert call.error is None
    assert endpoint.attempts(0) == [1] * (refusals + 1)
    assert endpoint.executions == [0]


def test_a_function_that_refuses_too_long_fails_the_attempt(endpoint, events):
    endpoint.script(0, *[Answer(status=429)] * 1000)
    with pytest.raises(NothingRan, match=r"refused the rank for 0\.5 s: Invoke was refused: TooMany") as refused:
        invoke(events[0], refused_for_s=0.5)
    assert refused.value.retryable


def test_a_refusal_for_good_is_not_repeated(endpoint, events):
    endpoint.script(0, Answer(status=403))
    with pytest.raises(NothingRan, match="access denied: these credentials may not call Invoke") as refused:
        invoke(events[0])
    assert not refused.value.retryable
    assert len(endpoint.calls) == 1


class TestAFunctionThatFails:
    def test_on_http_200_it_is_a_failure_with_the_functions_own_message(self, endpoint, events):
        endpoint.script(0, failed("RuntimeError", "no more luck"))
        call = invoke(events[0])
        assert (call.error, call.retryable, call.result) == ("no more luck", True, None)
        assert call.billed_s == 1.9  # which is billed all the same

    @pytest.mark.parametrize("kind", ["BadInput", "BadPartition", "BadCheckpoint"])
    def test_wrong_input_is_not_tried_again(self, endpoint, events, kind):
        endpoint.script(0, failed(kind, "survey/0.pt is empty"))
        assert not invoke(events[0]).retryable

    @pytest.mark.parametrize(
        ("kind", "message", "expected"),
        [
            (
                "Sandbox.Timedout",
                "RequestId: x Error: Task timed out after 60.00 seconds",
                "ran out of time after 60 s",
            ),
            ("", "2026-11-01T00:00:00Z x Task timed out after 60.00 seconds", "smaller partitions"),
            ("Runtime.OutOfMemory", "RequestId: x Error: Runtime exited", r"ran out of memory \(10,240 MB\)"),
            ("Runtime.ExitError", "RequestId: x Error: Runtime exited with error: signal: killed", "more --memory"),
        ],
    )
    def test_a_time_out_and_a_lack_of_memory_are_named_with_a_hint(self, endpoint, events, kind, message, expected):
        endpoint.timeout_s = 60
        endpoint.script(0, failed(kind, message))
        call = invoke(events[0])
        assert re.search(expected, call.error), call.error
        assert call.retryable


class TestAReplyThatIsNone:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"<html>", "not JSON"),
            (b"", "not JSON"),
            (b"[" * 100_000, "nested more than 100 levels deep"),
            (b"null", "no rank result"),
            (b"[]", "no rank result"),
            (b'{"rank": 0}', "lacks"),
        ],
    )
    def test_fails_the_attempt_and_says_what_it_is(self, endpoint, events, body, expected):
        endpoint.script(0, Answer(body=body))
        call = invoke(events[0])
        assert expected in call.error
        assert call.result is None

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"rank": 5}, "rank 5 of 8 instead of 0 of 8"),
            ({"world_size": 9}, "rank 0 of 9 instead of 0 of 8"),
            ({"fingerprint": "0" * 32}, "another plan"),
        ],
    )
    def test_another_ranks_or_another_plans_reply_is_not_this_ones(self, endpoint, events, changes, expected):
        reply = result_for(events[0].to_wire(), "r") | changes
        endpoint.script(0, Answer(body=json.dumps(reply).encode()))
        assert expected in invoke(events[0]).error

    def test_a_string_is_an_old_function_which_cannot_run_the_built_in_engine(self, endpoint, events):
        endpoint.script(0, Answer(body=b'"executed script"'))
        call = invoke(events[0])
        assert "of an older version: run `cosmic deploy` again" in call.error
        assert not call.retryable


class TestAnOldFunctionThatRanAScript:
    @pytest.fixture
    def event(self, events):
        script = Script(folder="A B", entry="/tmp/A B/run.py")
        return dataclasses.replace(events[0], script=script, model="", model_sha256="", graph=None)

    def test_the_store_decides_whether_the_rank_is_done(self, endpoint, event):
        record = {"total_cpu_time (seconds)": 2.0, "sample_persec": 150.0, "data_path": event.data_paths[0]}
        Store(event.store).write(BUCKET, "results/test/0.json", json.dumps(record).encode())
        endpoint.script(0, Answer(body=b'"done"'))
        call = invoke(event)
        assert (call.error, call.result.samples, call.result.fingerprint) == (None, 300, event.fingerprint)

    def test_without_a_result_the_attempt_has_failed_whatever_it_says(self, endpoint, event):
        endpoint.script(0, Answer(body=b'"executed script"'))
        assert "wrote no result" in invoke(event).error


class TestACallThatBreaksOff:
    def test_a_line_cut_after_the_rank_was_done_runs_nothing_twice(self, endpoint, events):
        endpoint.script(0, Answer(drop="after"))
        call = invoke(events[0])
        assert call.error is None
        assert endpoint.executions == [0]

    def test_a_line_cut_before_the_rank_ran_fails_the_attempt(self, endpoint, events):
        endpoint.script(0, Answer(drop="before"))
        call = invoke(events[0])
        assert "broke off and left no result" in call.error
        assert call.retryable
        assert len(endpoint.calls) == 1

    def test_a_truncated_reply_is_looked_up_in_the_store(self, endpoint, events):
        endpoint.script(0, Answer(cut=20))
        call = invoke(events[0])
        assert (call.error, call.result.rank) == (None, 0)
        assert endpoint.executions == [0]

    def test_an_endpoint_that_is_not_there_is_named(self, endpoint, events, monkeypatch):
        with executor(refused_for_s=0.3) as lambdas:
            pass
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
        lambdas._configuration = {"MemorySize": 10240, "Timeout": 900}
        with lambdas, pytest.raises(NothingRan, match=r"nothing answers at http://127\.0\.0\.1:9") as refused:
            invoke_on(lambdas, events[0])
        assert "canary" not in str(refused.value)


@pytest.mark.slow
def test_a_slow_rank_runs_once_unlike_with_the_sdks_own_settings(endpoint, events):
    endpoint.timeout_s = 900
    endpoint.script(0, *[Answer(wait_s=1.5)] * 9)
    plain = boto3.client("lambda", config=Config(read_timeout=0.4, retries={"max_attempts": 2}))
    with pytest.raises(Exception, match="Read timeout"):
        plain.invoke(FunctionName="f", Payload=json.dumps(events[0].to_wire()))
    assert len(endpoint.executions) == 3
    endpoint.executions.clear()
    endpoint.script(1, Answer(wait_s=1.5))
    assert invoke(events[1], timeout_s=900).error is None
    assert endpoint.executions == [1]


def run(lambdas, events, limits=None, until=None):
    """Run the events as one task run, with the dispatcher's loop in this thread; returns the ledger."""
    ledger = Ledger()
    dispatcher = Dispatcher(lambdas, ledger, events, limits)
    task_run = threading.Thread(target=dispatcher.run, args=(events,), daemon=True)
    with dispatcher:
        task_run.start()
        dispatcher.serve(until or (lambda: not task_run.is_alive()))
    task_run.join(timeout=15)
    assert not task_run.is_alive()
    return ledger


def test_the_dispatcher_sends_no_more_ranks_at_once_than_asked(endpoint, events):
    for event in events:
        endpoint.script(event.rank, Answer(wait_s=0.1))
    ledger = run(executor(concurrency=3), events)
    assert [call.error for call in ledger.invocations] == [None] * 8
    assert endpoint.most_at_once <= 3


def test_a_rank_that_lambda_refuses_is_not_late_and_gets_no_backup(endpoint, events):
    endpoint.script(0, *[Answer(status=429)] * 5)
    for rank in range(1, 8):
        endpoint.script(rank, Answer(wait_s=0.5))  # so that a refusal that itself takes its time is not late
    ledger = run(executor(concurrency=8), events, Limits(hedging=True))
    assert ledger.done == set(range(8))
    assert [call.backup for call in ledger.invocations] == [False] * 8
    assert endpoint.executions.count(0) == 1


def test_stop_waits_for_no_reply_and_for_no_pause(endpoint, events):
    endpoint.script(0, Answer(wait_s=20))
    endpoint.script(1, *[Answer(status=429)] * 1000)
    ledger = run(executor(), events[:2], until=lambda: len({rank for rank, _ in endpoint.calls}) == 2)
    assert ledger.last_error(0) == "stopped: the run is over"
    assert 0 in {call.rank for call in ledger.invocations if call.billed_s}


def test_an_event_beyond_lambdas_limit_is_reported_before_it_is_sent(endpoint, events):
    paths = tuple(f"survey/{'x' * 900}/{number}.pt" for number in range(7000))
    with pytest.raises(NothingRan, match="exceeds 6 MB") as refused:
        invoke(dataclasses.replace(events[0], data_paths=paths))
    assert not refused.value.retryable
    assert endpoint.calls == []


class TestTheLookBefore:
    def test_a_function_that_is_not_there_is_named_with_the_region(self, endpoint):
        endpoint.missing = True
        with pytest.raises(BadInput, match=r"no function f in us-east-1: `cosmic deploy`"):
            executor().check()

    def test_no_credentials_are_reported(self, endpoint, monkeypatch, tmp_path):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises(BadInput, match="no AWS credentials"):
            executor().check()

    def test_no_region_is_reported(self, endpoint, monkeypatch, tmp_path):
        for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(BadInput, match="no AWS region is set"):
            executor().check()

"""What the dispatcher relies on, for every executor: one suite, and a workplace for each executor to run it in."""

import dataclasses
import json
import shutil
import threading
from concurrent.futures import Future, wait
from contextlib import contextmanager

import pytest

from inference.contract.run_request import RunRequest
from inference.model.checkpoint import content_hash
from inference.rank_results.gather import read_result
from inference.storage.store import Store
from inference.worker import reply_to
from tasks.dispatch.dispatcher import Dispatcher
from tasks.executors.aws_lambda import LambdaExecutor
from tasks.executors.base import Call, NothingRan
from tasks.executors.dask_executor import DaskExecutor
from tasks.executors.local import LocalExecutor
from tasks.executors.step_functions import StepFunctionsExecutor
from tasks.invocations.invocation import Invocation
from tasks.invocations.ledger import Ledger
from tests.support.execution_histories import history_of
from tests.support.scripted_lambda import Answer, serving
from tests.support.states_endpoint import states_endpoint
from tests.support.surveys import request_of, write_survey
from tests.support.wire_examples import EVENT

RANKS = 4
FAILING = 2  # the rank that fails in every workplace that is asked for it


@pytest.fixture
def events(tmp_path, tiny_weights):
    """Ranks over real partitions and weights in a local store; the partition of a failing rank is missing."""
    root = tmp_path / "store"
    write_survey(root / EVENT.bucket / "survey")
    models = root / EVENT.bucket / "models"
    models.mkdir()
    for path in tiny_weights.parent.iterdir():
        shutil.copy(path, models / path.name)
    return [
        dataclasses.replace(
            EVENT,
            rank=rank,
            world_size=RANKS,
            data_paths=(f"survey/{rank + 1}.pt",),
            data_etags=(),
            store=str(root),
            model="models/tiny.safetensors",
            model_sha256=content_hash(models / "tiny.safetensors"),
            graph=next(f"models/{path.name}" for path in models.iterdir() if path.suffix == ".onnx"),
        )
        for rank in range(RANKS)
    ]


def lose_partition(event):
    Store(event.store).delete(event.data_bucket, list(event.data_paths))


@contextmanager
def on_workers(events, monkeypatch):
    yield LocalExecutor(2)


@contextmanager
def in_this_process(events, monkeypatch):
    yield LocalExecutor(0)


def point_aws_at(url, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setattr("tasks.aws.logs.WAIT_S", 0.0)


@contextmanager
def on_dask(events, monkeypatch):
    """Two processes of a LocalCluster, which see the store's payload.json."""
    request = RunRequest.read(request_of(bucket=EVENT.bucket, data_bucket=EVENT.data_bucket))
    Store(events[0].store).write(EVENT.bucket, f"{request.result_path}/payload.json", b"{}")
    yield DaskExecutor(None, 2, request, events[0].store)


@contextmanager
def on_lambda(events, monkeypatch):
    """An endpoint that speaks Lambda's API and runs the handler."""

    def body(event):
        reply = reply_to(event)
        return json.dumps(reply.get("result", reply)).encode()

    with serving(lambda event, _: reply_to(event)) as (endpoint, url):
        for event in events:
            missing = Store(event.store).head(event.data_bucket, event.data_paths[0]) is None
            endpoint.script(event.rank, *[Answer(body=body, function_error="Unhandled" if missing else None)] * 3)
        point_aws_at(url, monkeypatch)
        yield LambdaExecutor("f", concurrency=3)


@contextmanager
def on_a_state_machine(events, monkeypatch):
    """An endpoint that speaks the Step Functions API and runs the handler for every rank of an execution."""
    machine = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
    arn = machine.replace("stateMachine", "execution") + ":one"
    of = {"stateMachineArn": machine, "executionArn": arn, "name": "one", "startDate": 100.0}
    errors = {}

    def start(wanted):
        for event in events:
            reply = reply_to(event.to_wire())
            if "errorType" in reply:
                errors[event.rank] = reply["errorMessage"]
        return {"executionArn": arn, "startDate": 100.0}

    with states_endpoint(
        DescribeStateMachine=of | {"type": "STANDARD", "definition": "{}"},
        StartExecution=start,
        DescribeExecution=of | {"status": "SUCCEEDED", "stopDate": 140.0},
        GetExecutionHistory=lambda wanted: {"events": history_of(RANKS, errors)},
        ListMapRuns={"mapRuns": []},
        StopExecution={"stopDate": 120.0},
    ) as (url, _):
        point_aws_at(url, monkeypatch)
        yield StepFunctionsExecutor(machine, "f", {"run_id": "one"})


@pytest.fixture(params=[on_workers, in_this_process, on_lambda, on_a_state_machine, on_dask])
def workplace(request, monkeypatch):
    """Makes an executor of one kind for the events, checked and not started."""

    @contextmanager
    def make(events):
        with request.param(events, monkeypatch) as executor:
            executor.check()
            yield executor

    return make


def run(executor, events):
    """Run the events as one task run, the way `fan_out` does; returns the ledger."""
    ledger = Ledger()
    dispatcher = Dispatcher(executor, ledger, events)
    with dispatcher:
        if executor.in_process:
            dispatcher.run(events)
        else:
            task_run = threading.Thread(target=dispatcher.run, args=(events,), daemon=True)
            task_run.start()
            dispatcher.serve(lambda: not task_run.is_alive())
    ledger.invocations = executor.settle(ledger.invocations)
    return ledger


def test_submit_returns_one_call_for_each_event_in_order(workplace, events):
    with workplace(events) as executor, executor:
        calls = executor.submit(events)
        assert [call.event for call in calls] == events
        assert all(isinstance(call, Call) and isinstance(call, Future) for call in calls)
        assert not wait(calls, timeout=60).not_done
        assert {call.result().rank: call.result().result.rank for call in calls} == {n: n for n in range(RANKS)}


def test_a_rank_that_is_done_has_its_result_in_the_store(workplace, events):
    with workplace(events) as executor:
        ledger = run(executor, events)
    assert ledger.done == set(range(RANKS))
    for call in ledger.invocations:
        found = read_result(Store(events[0].store), events[call.rank])
        assert found.predictions_path == call.result.predictions_path
        assert call.billed_s > 0 and call.billed_how


def test_a_failed_rank_says_why_in_one_sentence_and_fails_no_other(workplace, events):
    lose_partition(events[FAILING])
    with workplace(events) as executor:
        ledger = run(executor, events)
    assert ledger.done == set(range(RANKS)) - {FAILING}
    error = ledger.last_error(FAILING)
    assert "survey/3.pt is gone" in error
    assert "\n" not in error
    failed = [call for call in ledger.invocations if call.rank == FAILING]
    assert not any(call.retryable for call in failed), "the same input fails every time"


def test_stop_waits_for_nothing_and_may_be_repeated(workplace, events):
    with workplace(events) as executor:
        executor.start()
        executor.stop()
        executor.stop()


def test_calls_open_at_a_stop_never_count_as_done(workplace, events):
    with workplace(events) as executor, executor:
        calls = executor.submit(events)
        executor.stop()
        for call in wait(calls, timeout=30).done:
            error = call.exception()
            assert error is None or isinstance(error, NothingRan)
            if error is None and call.result().result is not None:
                assert read_result(Store(events[0].store), call.event) is not None


def test_facts_and_place_are_json_and_settle_loses_no_call(workplace, events):
    with workplace(events) as executor:
        ledger = run(executor, events)
        json.dumps(executor.facts())
        assert executor.aws_location().keys() <= {"region", "architecture"}
        settled = executor.settle(ledger.invocations)
    assert len(settled) >= len(ledger.invocations) >= RANKS
    assert all(isinstance(call, Invocation) for call in settled)
    assert executor.memory_mb > 0
    assert executor.seen_done() == 0

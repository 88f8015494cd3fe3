import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
import pytest

from inference.contract.script import Script
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.aws.emulator import REGION
from tasks.aws.session import client
from tasks.billing.express import express_of
from tasks.dispatch.dispatcher import Dispatcher
from tasks.executors.sent_execution import SentExecution, note_execution, noted_execution
from tasks.executors.step_functions import StepFunctionsExecutor, _Items
from tasks.invocations.ledger import Ledger
from tests.support.execution_histories import DISTRIBUTED, INLINE, RETRIED
from tests.support.prefect_command import wait_for
from tests.support.state_machines import deploy_machine
from tests.support.states_endpoint import LOST, Refusal, states_endpoint
from tests.support.wire_examples import EVENT, RESULT

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:old"
ARN = "arn:aws:states:us-east-1:000000000000:execution:old:one"
MAP_RUN = "arn:aws:states:us-east-1:000000000000:mapRun:old/Map:1"
STANDARD = {"stateMachineArn": MACHINE, "name": "old", "type": "STANDARD", "definition": "{}"}
STARTED = {"executionArn": ARN, "startDate": 100.0}
ENDED = {"executionArn": ARN, "stateMachineArn": MACHINE, "name": "one", "startDate": 100.0, "stopDate": 133.0}
RUNNING = {"executionArn": ARN, "stateMachineArn": MACHINE, "name": "one", "startDate": 100.0, "status": "RUNNING"}
SUCCEEDED = ENDED | {"status": "SUCCEEDED"}
COUNTS = dict.fromkeys(
    ("pending", "running", "succeeded", "failed", "timedOut", "aborted", "total", "resultsWritten"), 0
)


@pytest.fixture
def answers(monkeypatch):
    """Serve scripted answers as AWS; returns the list of calls made."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    served = []

    def serve(**script):
        context = states_endpoint(**(script_of_a_good_run() | script))
        url, calls = context.__enter__()
        served.append(context)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        return calls

    yield serve
    for context in served:
        context.__exit__(None, None, None)


def script_of_a_good_run():
    return {
        "DescribeStateMachine": STANDARD,
        "StartExecution": STARTED,
        "DescribeExecution": SUCCEEDED,
        "GetExecutionHistory": {"events": INLINE},
        "ListMapRuns": {"mapRuns": []},
        "StopExecution": {"stopDate": 120.0},
        "FilterLogEvents": Refusal("ResourceNotFoundException"),
    }


def events_in(folder, ranks=3, done=()):
    """Ranks in a local store, those in `done` with their results."""
    events = [
        dataclasses.replace(EVENT, rank=rank, world_size=ranks, data_paths=(f"survey/{rank}.pt",), store=str(folder))
        for rank in range(ranks)
    ]
    store = Store(folder)
    for event in events:
        if event.rank in done:
            key = f"{event.result_path}/predictions/{event.rank}.safetensors"
            result = dataclasses.replace(
                RESULT,
                rank=event.rank,
                world_size=ranks,
                data_path=event.data_paths[0],
                predictions_path=key,
                request_id=f"request-{event.rank}",
            )
            store.write(event.result_bucket, key, b"redshifts")
            store.write(
                event.result_bucket, f"{event.result_path}/{event.rank}.json", json.dumps(result.to_wire()).encode()
            )
    return events


def executor_for(machine=MACHINE, function="cosmic-executor", **document):
    executor = StepFunctionsExecutor(machine, function, document)
    executor.run_id = "run-1"
    executor.check()
    return executor


def run(events, executor=None, on_poll=lambda: None):
    """Run the events as one task run, with the dispatcher's loop in this thread; returns the execution and ledger."""
    executor, ledger = executor or executor_for(), Ledger()
    dispatcher = Dispatcher(executor, ledger, events)
    task_run = threading.Thread(target=dispatcher.run, args=(events,), daemon=True)
    with dispatcher:
        task_run.start()
        dispatcher.serve(lambda: not task_run.is_alive(), on_poll)
    ledger.invocations = executor.settle(ledger.invocations)
    return executor.execution, ledger


def test_ranks_with_results_are_done_and_a_failed_rank_names_its_cause(answers, tmp_path):
    answers()
    execution, ledger = run(events_in(tmp_path, done=(0, 1)))
    assert ledger.done == {0, 1}
    assert ledger.last_error(2) == "out of luck"
    assert (execution.status, execution.map.seconds) == ("SUCCEEDED", 20)


def test_the_request_is_the_machines_input_as_it_is(answers, tmp_path):
    calls = answers()
    document = {"bucket": "cosmicai-test", "file_limit": "3"}
    run(events_in(tmp_path), executor_for(**document))
    asked = [wanted for operation, wanted in calls if operation == "StartExecution"]
    expected = document | {"run_id": "run-1", "model": EVENT.model}
    assert [json.loads(wanted["input"]) for wanted in asked] == [expected]
    assert asked[0]["name"].startswith("run-1-")


def test_a_repeated_call_is_billed_unless_no_function_ran(answers, tmp_path):
    answers(GetExecutionHistory={"events": RETRIED})
    _, ledger = run(events_in(tmp_path, ranks=5, done=(4,))[4:])
    assert [(call.attempt, call.error, call.billed_s) for call in ledger.invocations if call.error] == [
        (1, "Lambda.Unknown: it died", 2)
    ]
    assert [call.attempt for call in ledger.invocations if call.result] == [2]
    assert ledger.done == {4}


def test_what_was_billed_comes_from_report_lines_where_the_log_has_them(answers, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # a throttled look into the log is not waited for
    line = (
        "REPORT RequestId: request-0\tDuration: 1800.00 ms\tBilled Duration: 1900 ms\tMemory Size: 10240 MB\t"
        "Max Memory Used: 600 MB\tInit Duration: 90.00 ms\t\n"
    )
    event = {"logStreamName": "one", "timestamp": 102_000, "message": line, "ingestionTime": 102_000, "eventId": "1"}
    answers(FilterLogEvents=[{"events": [event]}, Refusal("ThrottlingException")])
    _, ledger = run(events_in(tmp_path, done=(0, 1)))
    calls = {call.rank: call for call in ledger.invocations if call.result}
    assert (calls[0].billed_how, calls[0].billed_s, calls[0].init_s) == ("REPORT line", 1.9, 0.09)
    assert "estimate" in calls[1].billed_how


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        ("Sandbox.Timedout", "RequestId: x Error: Task timed out after 900.00 seconds", "smaller partitions"),
        ("Runtime.OutOfMemory", "RequestId: x Error: Runtime exited with error: signal: killed", "more --memory"),
    ],
)
def test_a_function_that_ran_out_of_time_or_memory_is_reported_with_a_hint(answers, tmp_path, error, message, hint):
    cause = json.dumps({"errorType": error, "errorMessage": message})
    answers(**distributed([("FAILED", 0, error, cause)]))
    _, ledger = run(events_in(tmp_path, ranks=1))
    assert message in ledger.last_error(0)
    assert hint in ledger.last_error(0)


@pytest.mark.parametrize(
    ("status", "error", "cause", "explained"),
    [
        ("TIMED_OUT", None, None, "the execution ended TIMED_OUT"),
        ("FAILED", "States.Runtime", "no such path", "the execution ended FAILED: States.Runtime: no such path"),
        ("ABORTED", "Stopped", "by hand", "the execution ended ABORTED: Stopped: by hand"),
        (
            "FAILED",
            "BadInput",
            json.dumps({"errorType": "BadInput", "errorMessage": "bucket: there is none"}),
            "the execution ended FAILED: bucket: there is none",
        ),
    ],
)
def test_a_failed_execution_gives_the_reason_for_each_missing_rank(answers, tmp_path, status, error, cause, explained):
    why = {name: value for name, value in {"error": error, "cause": cause}.items() if value}
    answers(DescribeExecution=[RUNNING, ENDED | {"status": status} | why], GetExecutionHistory={"events": INLINE[:7]})
    execution, ledger = run(events_in(tmp_path, done=(1,)))
    assert execution.status == status
    assert ledger.done == {1}
    assert [ledger.last_error(rank) for rank in (0, 2)] == [explained, explained]


def test_an_item_that_ended_well_without_a_result_is_not_done(answers, tmp_path):
    answers()
    _, ledger = run(events_in(tmp_path, done=(1,)))
    assert ledger.done == {1}
    assert ledger.last_error(0) == "the execution ended well and left no result for it"


def test_a_lost_answer_to_the_start_does_not_start_a_second_execution(answers, tmp_path):
    calls = answers(StartExecution=[LOST, Refusal("ExecutionAlreadyExists")])
    execution, _ = run(events_in(tmp_path))
    names = {wanted["name"] for operation, wanted in calls if operation == "StartExecution"}
    assert len(names) == 1
    assert execution.arn == f"arn:aws:states:us-east-1:000000000000:execution:old:{names.pop()}"


def test_an_execution_that_is_not_visible_at_once_is_waited_for(answers, tmp_path):
    answers(DescribeExecution=[Refusal("ExecutionDoesNotExist"), SUCCEEDED])
    execution, _ = run(events_in(tmp_path))
    assert execution.status == "SUCCEEDED"


def test_items_are_counted_by_reading_the_new_events_of_the_history_only(answers):
    def pages(wanted):
        seen = INLINE[: 20 if len(looks) == 0 else 27]
        looks.append(wanted)
        return {"events": list(reversed(seen))}

    looks = []
    answers(GetExecutionHistory=pages)
    items = _Items(client("stepfunctions"), ARN)
    assert [items.succeeded(), items.succeeded()] == [1, 2]
    assert all(wanted["reverseOrder"] and wanted["includeExecutionData"] is False for wanted in looks)


def test_seen_done_counts_the_items_of_the_map_while_the_execution_runs(answers, tmp_path):
    answers(DescribeExecution=[RUNNING, RUNNING, SUCCEEDED])
    executor, counted = executor_for(), []
    run(events_in(tmp_path, done=(0, 1)), executor, lambda: counted.append(executor.seen_done()))
    assert set(counted) <= {0, 2} and 2 in counted
    assert executor.seen_done() == 0


def child(number, status, rank):
    arn = f"arn:aws:states:us-east-1:000000000000:execution:old/Map:{number}"
    times = {"startDate": 102.0, "stopDate": 402.0}
    listed = {"executionArn": arn, "stateMachineArn": f"{MACHINE}/Map", "name": str(number), "status": status} | times
    return listed, listed | {"input": json.dumps({"RANK": str(rank)})}


def distributed(children, kind="EXPRESS"):
    """Script of a distributed map: (status, rank, error, cause) of each child."""
    listed, explained = {}, {}
    for number, (status, rank, error, cause) in enumerate(children):
        line, whole = child(number, status, rank)
        listed.setdefault(status, []).append(line)
        why = {name: value for name, value in {"error": error, "cause": cause}.items() if value}
        explained[line["executionArn"]] = whole | why
    counts = COUNTS | {"total": len(children), "succeeded": len(listed.get("SUCCEEDED", ()))}
    run_of = {"mapRunArn": MAP_RUN, "executionArn": ARN, "stateMachineArn": MACHINE, "startDate": 102.0}
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}, "States": {"Model Inference": {}}}

    def executions(wanted):
        only = wanted.get("statusFilter")
        return {"executions": listed.get(only, []) if only else [line for lines in listed.values() for line in lines]}

    return {
        "DescribeExecution": lambda wanted: explained.get(wanted["executionArn"], SUCCEEDED),
        "GetExecutionHistory": {"events": DISTRIBUTED},
        "ListMapRuns": {"mapRuns": [run_of]},
        "DescribeMapRun": run_of
        | {"status": "SUCCEEDED", "maxConcurrency": 0, "toleratedFailurePercentage": 0.0, "toleratedFailureCount": 0}
        | {"itemCounts": counts, "executionCounts": counts},
        "ListExecutions": executions,
        "DescribeStateMachineForExecution": STANDARD
        | {"roleArn": "arn:aws:iam::000000000000:role/r", "updateDate": 1.0}
        | {"definition": json.dumps({"States": {"Map": {"Type": "Map", "ItemProcessor": processor}}})},
    }


def test_failed_children_of_a_map_run_are_named_by_rank_with_their_causes(answers, tmp_path):
    cause = json.dumps({"errorType": "RankFailed", "errorMessage": "no memory", "requestId": "request-9"})
    answers(
        **distributed(
            [
                ("SUCCEEDED", 0, None, None),
                ("FAILED", 1, "RankFailed", cause),
                ("TIMED_OUT", 2, None, None),
                ("ABORTED", 3, None, None),
            ]
        )
    )
    execution, ledger = run(events_in(tmp_path, ranks=4, done=(0,)))
    assert (execution.children, execution.items["succeeded"], execution.state_transitions) == ("EXPRESS", 1, 3 + 4)
    assert ledger.last_error(1) == "no memory"
    assert "EXPRESS ends at five minutes" in ledger.last_error(2)
    assert "stopped, with the map" in ledger.last_error(3)
    assert {call.rank: call.request_id for call in ledger.invocations if call.error}[1] == "request-9"


def test_express_children_are_billed_by_requests_and_seconds(answers, tmp_path):
    answers(**distributed([("SUCCEEDED", rank, None, None) for rank in range(3)], "EXPRESS"))
    execution, ledger = run(events_in(tmp_path, done=(0, 1, 2)))
    kept = json.loads(json.dumps(execution.to_dict()))
    express = express_of([kept], ledger.invocations)
    assert (express.requests, express.gb_s) == (3, pytest.approx(3 * 300 * 64 / 1024))


def test_standard_children_add_their_own_states_to_the_bill(answers, tmp_path):
    answers(**distributed([("SUCCEEDED", rank, None, None) for rank in range(3)], "STANDARD"))
    execution, _ = run(events_in(tmp_path, done=(0, 1, 2)))
    assert execution.state_transitions == 3 + 3 * 2
    assert (execution.item_seconds, execution.peak_concurrency) == ((300, 300, 300), 3)


def test_what_may_not_be_read_is_noted_and_the_results_still_count(answers, tmp_path):
    answers(GetExecutionHistory=Refusal("AccessDeniedException"), ListMapRuns=Refusal("AccessDeniedException"))
    execution, ledger = run(events_in(tmp_path, done=(0, 1, 2)))
    assert ledger.done == {0, 1, 2}
    assert execution.map is None
    assert any("GetExecutionHistory is not allowed" in note for note in execution.notes)


def test_a_start_that_is_refused_fails_the_run_in_one_sentence(answers, tmp_path):
    answers(StartExecution=Refusal("ExecutionLimitExceeded", "too many"))
    execution, ledger = run(events_in(tmp_path))
    assert execution is None
    assert all(MACHINE in ledger.last_error(rank) for rank in range(3))
    assert "\n" not in ledger.last_error(0)
    assert ledger.invocations == []


def stopped(calls):
    return {wanted["executionArn"] for operation, wanted in calls if operation == "StopExecution"}


def started(calls):
    names = [wanted["name"] for operation, wanted in calls if operation == "StartExecution"]
    return {f"{ARN.removesuffix('one')}{name}" for name in names}


def interrupt():
    raise KeyboardInterrupt


def interrupted_run(events, executor=None):
    """Run the events and interrupt the loop as Ctrl-C does."""
    executor = executor or executor_for()
    with pytest.raises(KeyboardInterrupt):
        run(events, executor, lambda: executor._running and interrupt())


def test_an_interrupt_stops_the_execution(answers, tmp_path):
    calls = answers(DescribeExecution=RUNNING)
    interrupted_run(events_in(tmp_path))
    wait_for(lambda: stopped(calls) == started(calls) != set(), within_s=60, every_s=0.05)


def test_stop_ends_the_execution_and_bills_no_rank_for_it(answers, tmp_path):
    calls = answers(DescribeExecution=RUNNING)
    executor, ledger, events = executor_for(), Ledger(), events_in(tmp_path)
    dispatcher = Dispatcher(executor, ledger, events)
    task_run = threading.Thread(target=dispatcher.run, args=(events,), daemon=True)
    with dispatcher:
        task_run.start()
        dispatcher.serve(lambda: executor._running is not None)
        dispatcher.stop("the user left")
    task_run.join(30)
    wait_for(lambda: stopped(calls) == started(calls) != set(), within_s=60, every_s=0.05)
    assert ledger.last_error(0) == "stopped: the user left"
    assert ledger.invocations == []


def test_a_run_left_while_its_execution_starts_still_stops_it(answers, tmp_path):
    starting = threading.Event()

    def start_slowly(wanted):
        starting.set()
        time.sleep(1)
        return STARTED

    stops = [Refusal("ExecutionDoesNotExist"), {"stopDate": 1.0}]
    calls = answers(StartExecution=start_slowly, StopExecution=stops, DescribeExecution=RUNNING)
    executor = executor_for()
    with pytest.raises(KeyboardInterrupt):
        run(events_in(tmp_path), executor, lambda: starting.is_set() and interrupt())
    assert [operation for operation, _ in calls].count("StopExecution") == 2


def test_an_execution_that_cannot_be_stopped_is_logged(answers, tmp_path, caplog):
    calls = answers(DescribeExecution=RUNNING, StopExecution=Refusal("AccessDeniedException"))
    interrupted_run(events_in(tmp_path))
    assert started(calls).pop() in caplog.text
    assert "could not be stopped" in caplog.text


class TestAfterAKilledRun:
    """The note of a run whose orchestrator was killed lies in the store; the next run of the same ranks begins."""

    def killed(self, events, arn=ARN, **changes):
        prints = {event.rank: event.fingerprint for event in events} | changes.get("prints", {})
        note_execution(events[0], SentExecution(arn, prints))

    def recovered(self, events):
        executor = executor_for()
        executor.recover(events)
        return executor

    def test_an_execution_is_noted_before_it_is_started(self, answers, tmp_path):
        noted, events = [], events_in(tmp_path)
        answers(StartExecution=lambda wanted: noted.append(noted_execution(events[0])) or STARTED)
        execution, _ = run(events)
        assert [sent.arn for sent in noted] == [execution.arn]
        assert noted[0].fingerprints == {event.rank: event.fingerprint for event in events}
        assert noted_execution(events[0]) is None, "what has ended is on the bill"

    def test_submit_follows_the_execution_that_still_runs_under_the_same_plan(self, answers, tmp_path):
        events = events_in(tmp_path, done=(0, 1))
        self.killed(events)
        calls = answers(DescribeExecution=[RUNNING, RUNNING, SUCCEEDED])
        execution, ledger = run(events, self.recovered(events))
        assert execution.arn == ARN
        assert ledger.done == {0, 1}
        assert started(calls) == stopped(calls) == set()
        assert noted_execution(events[0]) is None

    def test_recover_stops_an_execution_of_another_plan_and_bills_it(self, answers, tmp_path):
        events = events_in(tmp_path)
        self.killed(events, prints={0: "of another plan"})
        aborted = ENDED | {"status": "ABORTED"}
        calls = answers(DescribeExecution=[RUNNING, aborted])
        executor = self.recovered(events)
        assert stopped(calls) == {ARN}
        (abandoned,) = executor.facts()["abandoned"]
        assert (abandoned["arn"], abandoned["status"]) == (ARN, "ABORTED")
        assert [call.error for call in executor.settle([])] == ["out of luck"], "its failed call is a line of the bill"

    def test_recover_bills_an_execution_that_ended_meanwhile(self, answers, tmp_path):
        events = events_in(tmp_path, done=(0, 1))
        self.killed(events)
        calls = answers()
        executor = self.recovered(events)
        assert stopped(calls) == started(calls) == set()
        assert executor.facts()["abandoned"][0]["state_transitions"] > 0
        assert [call.rank for call in executor.settle([])] == [2]
        assert noted_execution(events[0]) is None

    def test_recover_forgets_an_execution_that_was_never_started(self, answers, tmp_path):
        events = events_in(tmp_path)
        self.killed(events)
        answers(DescribeExecution=Refusal("ExecutionDoesNotExist"))
        assert "abandoned" not in self.recovered(events).facts()
        assert noted_execution(events[0]) is None


CANCELLED_FLOW = """
import sys
from pathlib import Path
from prefect import flow
from tests.tasks.executors.test_step_functions import events_in, executor_for, run

@flow
def follow(folder: str):
    executor = executor_for()
    run(events_in(Path(folder)), executor, lambda: executor._running and print("following", flush=True))

follow(sys.argv[1])
"""


@pytest.mark.slow
def test_prefect_cancelling_the_flow_stops_the_execution(answers, tmp_path, prefect_server):
    calls = answers(DescribeExecution=RUNNING)
    root = Path(__file__).parents[3]
    flow = subprocess.Popen(
        [sys.executable, "-c", CANCELLED_FLOW, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=root,
        env=os.environ | {"PREFECT_API_URL": prefect_server, "PYTHONPATH": os.pathsep.join([*sys.path, str(root)])},
    )
    said = []
    for line in flow.stdout:
        said.append(line)
        if line.startswith("following"):
            flow.terminate()  # as Prefect does when a flow run is cancelled
            break
    flow.communicate(timeout=60)
    assert said[-1:] == ["following\n"], "".join(said)
    assert stopped(calls) == started(calls)


def test_an_execution_that_ended_well_is_not_stopped(answers, tmp_path):
    calls = answers()
    run(events_in(tmp_path))
    assert stopped(calls) == set()


@pytest.mark.parametrize(
    ("answer", "explained"),
    [
        (Refusal("StateMachineDoesNotExist"), "no state machine .*old.*cosmic deploy"),
        (STANDARD | {"type": "EXPRESS"}, "EXPRESS, which keeps no history"),
        (Refusal("AccessDeniedException", "User x is not authorized to perform: states:DescribeStateMachine"), "."),
    ],
)
def test_a_machine_that_cannot_be_used_is_found_before_anything_is_started(answers, answer, explained):
    calls = answers(DescribeStateMachine=answer)
    with pytest.raises(BadInput, match=explained) as refusal:
        executor_for()
    assert "\n" not in str(refusal.value)
    assert {operation for operation, _ in calls} == {"DescribeStateMachine"}


CALLER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws-cn:iam::123456789012:user/somebody</Arn><UserId>u</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


def test_without_an_arn_the_stacks_machine_in_this_account_is_taken(answers):
    calls = answers(GetCallerIdentity=CALLER)
    executor_for(None)
    assert calls[-1] == (
        "DescribeStateMachine",
        {"stateMachineArn": "arn:aws-cn:states:us-east-1:123456789012:stateMachine:cosmic-flows"},
    )


def test_a_machine_of_another_region_is_refused(answers):
    answers()
    with pytest.raises(BadInput, match=r"eu-west-1.*us-east-1"):
        executor_for(MACHINE.replace("us-east-1", "eu-west-1"))


@pytest.fixture(scope="module")
def every_machine(emulator_url):
    """The contract's machine of both variants, on the emulator; by the kind of its children, None for inline."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}

    def clients(name):
        return boto3.client(name, endpoint_url=emulator_url, **keys)

    kinds = {None: {}, "EXPRESS": {"ToleratedFailurePercentage": 50}, "STANDARD": {}}
    return {kind: deploy_machine(clients, kind, **fields) for kind, fields in kinds.items()}


@pytest.fixture
def machines(every_machine, aws):
    return every_machine


def run_on(machine, events, result_path, **more):
    executor = StepFunctionsExecutor(machine.arn, machine.function, machine.request(result_path, **more))
    executor.check()
    return run(events, executor)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "status"), [(None, "FAILED"), ("STANDARD", "FAILED"), ("EXPRESS", "SUCCEEDED")])
def test_either_variant_runs_all_ranks_and_names_the_failed_one(machines, kind, status):
    machine = machines[kind]
    events = machine.plan(4, "results/failing", {2: "fail"})
    execution, ledger = run_on(machine, events, "results/failing")
    assert (execution.status, execution.children) == (status, kind)
    assert ledger.done == {0, 1, 3}
    assert "rank 2 is out of luck" in ledger.last_error(2)
    assert execution.initialize.seconds > 0
    assert 0 < execution.map.seconds < execution.seconds
    assert (execution.summarize is None) == (status == "FAILED")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, "EXPRESS"])
def test_results_of_an_old_function_are_taken_over(machines, kind):
    machine = machines[kind]
    script = Script(folder="Anomaly Detection", entry="/tmp/Anomaly Detection/inference.py")
    events = machine.plan(3, "results/old", {1: "idle"}, script=script, model="", model_sha256="", graph=None)
    execution, ledger = run_on(machine, events, "results/old")
    assert ledger.done == {0, 2}
    assert ledger.last_error(1) == "the execution ended well and left no result for it"
    stored = json.loads(Store("s3://").read(machine.bucket, "results/old/0.json"))
    assert (stored["rank"], stored["fingerprint"]) == (0, events[0].fingerprint)
    first = next(call.result for call in ledger.invocations if call.rank == 0)
    assert execution.map.started_at <= first.started_at < first.ended_at <= execution.map.ended_at
    assert first.samples == 300


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, "EXPRESS"])
def test_an_interrupted_run_leaves_no_execution_running(machines, kind):
    machine = machines[kind]
    events = machine.plan(2, "results/stopped", {0: "wait", 1: "wait"})

    executor = StepFunctionsExecutor(machine.arn, machine.function, machine.request("results/stopped"))
    executor.check()

    def running():
        left = client("stepfunctions").list_executions(stateMachineArn=machine.arn)["executions"]
        return {execution["executionArn"] for execution in left if execution["status"] == "RUNNING"}

    before = running()  # what other tests left
    interrupted_run(events, executor)
    end = time.monotonic() + 120  # the emulator answers before it has stopped, on a busy machine long before
    while running() - before and time.monotonic() < end:
        time.sleep(0.1)
    assert not running() - before


@pytest.mark.slow
def test_a_failed_initialize_is_the_cause_of_every_rank(machines):
    machine = machines[None]
    events = machine.plan(2, "results/none")
    execution, ledger = run_on(machine, events, "results/none", fail="Initialize")
    assert execution.map is None
    assert {ledger.last_error(rank) for rank in (0, 1)} == {
        "the execution ended FAILED: there is no data under that prefix"
    }

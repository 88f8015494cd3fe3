import json
import time
import uuid

import pytest

from inference.errors import BadInput
from tasks.aws.logs import group_of, lines_of, reports, with_billed_durations, with_report
from tasks.aws.report_line import parse_report
from tasks.aws.session import client
from tasks.invocations.invocation import EMULATED, Invocation

pytestmark = pytest.mark.slow


@pytest.fixture
def log(aws):
    """A function's log of its own; write(lines, stream) puts lines there, a millisecond apart."""
    name = f"function-{uuid.uuid4().hex[:8]}"
    logs = client("logs")
    logs.create_log_group(logGroupName=group_of(name))

    def write(lines, stream="one"):
        logs.create_log_stream(logGroupName=group_of(name), logStreamName=stream)
        now = int(time.time() * 1000) - len(lines)
        events = [{"timestamp": now + number, "message": line} for number, line in enumerate(lines)]
        logs.put_log_events(logGroupName=group_of(name), logStreamName=stream, logEvents=events)

    return name, write


def report_of(request_id, billed_ms=1900, init=""):
    memory = "Memory Size: 10240 MB\tMax Memory Used: 512 MB"
    return f"REPORT RequestId: {request_id}\tDuration: 1500.00 ms\tBilled Duration: {billed_ms} ms\t{memory}\t{init}\n"


def call_of(request_id, **changes):
    facts = {"rank": 0, "attempt": 1, "started_at": time.time() - 5, "ended_at": time.time(), "duration_s": 5.0}
    facts |= {"init_s": 0.0, "billed_s": 5.0, "billed_how": "measured here, an estimate", "memory_mb": 10_240}
    facts |= {"max_memory_mb": 0.0, "cold": False, "request_id": request_id, "worker": ""}
    return Invocation(**facts | changes)


def test_calls_get_what_was_billed_by_their_request_ids(log):
    name, write = log
    write([report_of("aaaaaaaa-1", 1900, "Init Duration: 400.00 ms"), report_of("bbbbbbbb-2", 700)])
    write([report_of("cccccccc-3", 800)], "two")
    calls = with_billed_durations([call_of("cccccccc-3"), call_of("aaaaaaaa-1")], name)
    assert [(call.billed_s, call.billed_how, call.cold) for call in calls] == [
        (0.8, EMULATED, False),
        (1.9, EMULATED, True),
    ]


def test_memory_that_a_line_does_not_know_stays_the_ranks_own():
    line = "REPORT RequestId: a-1 Duration: 9.0 ms Billed Duration: 10 ms Memory Size: 1024 MB Max Memory Used: {} MB"
    for used, expected in ((0, 99.0), (512, 512.0)):
        assert (
            with_report(call_of("a-1", max_memory_mb=99.0), parse_report(line.format(used))).max_memory_mb == expected
        )


def test_a_line_that_never_comes_leaves_the_measured_time(log):
    name, write = log
    write([report_of("aaaaaaaa-1")])
    calls = [call_of("nowhere-9"), call_of("aaaaaaaa-1")]
    settled = with_billed_durations(calls, name, wait_s=0.1)
    assert settled[0] == calls[0]
    assert settled[1].billed_how == EMULATED


def test_the_log_of_the_emulator_is_not_waited_for_as_cloudwatchs_is(log):
    name, write = log
    write([report_of("aaaaaaaa-1")])
    began = time.monotonic()
    assert reports(name, {"nowhere-9"}, time.time() - 5) == {}
    assert time.monotonic() - began < 8


def test_a_log_that_is_not_there_tells_nothing(aws):
    assert reports("no-such-function", {"aaaaaaaa-1"}, time.time(), wait_s=5.0) == {}


def test_calls_without_a_request_id_ask_nobody(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    calls = [call_of("")]
    assert with_billed_durations(calls, "f") == calls


def test_thousands_of_lines_come_in_pages(log):
    name, write = log
    ids = [f"request-{number:05d}" for number in range(2500)]
    write([report_of(request_id) for request_id in ids])
    assert len(reports(name, ids, time.time() - 60)) == 2500


def test_lines_belong_to_the_request_that_started_last_in_their_stream(log):
    name, write = log
    first, second = "aaaaaaaa-0000", "bbbbbbbb-0000"
    write([f"START RequestId: {first} Version: 1", "received: 1", f"END RequestId: {first}", report_of(first)])
    write([f"START RequestId: {second} Version: 1", "received: 2"], "two")
    found = lines_of(name, {first, second}, time.time() - 60, time.time() + 60)
    assert found[first][1] == "received: 1"
    assert len(found[first]) == 4
    assert found[second] == [f"START RequestId: {second} Version: 1", "received: 2"]


def test_a_missing_log_group_is_named(aws):
    with pytest.raises(BadInput, match=r"no log group /aws/lambda/no-such-function"):
        lines_of("no-such-function", {"x"}, time.time(), time.time())


@pytest.mark.parametrize(
    "name",
    ["cosmic-executor", "arn:aws:lambda:us-east-1:123456789012:function:cosmic-executor", "cosmic-executor:live"],
)
def test_a_functions_log_group_is_known_by_name_arn_and_alias(name):
    assert group_of(name) == "/aws/lambda/cosmic-executor"


def test_the_emulators_own_report_lines_are_read(stack):
    started = time.time()
    reply = client("lambda").invoke(FunctionName="cosmic-executor", Payload=json.dumps({}))
    assert reply["FunctionError"]
    logs = client("logs").get_paginator("filter_log_events")
    pages = logs.paginate(logGroupName=group_of("cosmic-executor"), filterPattern='"REPORT RequestId"')
    ids = {event["message"].split()[2] for page in pages for event in page["events"]}
    assert reports("cosmic-executor", ids, started - 3600)

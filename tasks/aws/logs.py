"""What CloudWatch knows of a function's invocations: their REPORT lines, and all their lines."""

import dataclasses
import re
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from inference.errors import BadInput
from tasks.aws.emulator import is_emulated
from tasks.aws.report_line import Report, parse_report
from tasks.aws.session import client, explain
from tasks.invocations.invocation import EMULATED, REPORTED, Invocation

WAIT_S = 10.0  # CloudWatch shows a line some seconds after it was written
_WAIT_EMULATED_S = 1.0  # the emulator shows it at once
_SKEW_S = 60.0  # between this machine's clock and Lambda's
_REQUEST = re.compile(r"(?:START |END |REPORT )?RequestId: ([\w-]{8,64})")


def group_of(function_name: str) -> str:
    """The log group of a function, given by its name or its ARN."""
    name = function_name.split(":function:")[-1].split(":")[0]
    return f"/aws/lambda/{name}"


def reports(
    function_name: str, request_ids: Collection[str], since: float, wait_s: float | None = None
) -> dict[str, Report]:
    """REPORT lines by request id, as many as CloudWatch shows within a short wait.

    A log that is missing or may not be read is no error: the measured times stand then.

    Args:
        function_name: name or ARN.
        request_ids: whose lines are wanted.
        since: seconds since the epoch, when the first of them was sent.
        wait_s: how long to wait for lines that are not there yet; default WAIT_S, on the emulator a second.
    """
    wanted, found = set(request_ids), dict[str, Report]()
    if not wanted:
        return found
    if wait_s is None:
        wait_s = min(WAIT_S, _WAIT_EMULATED_S) if is_emulated() else WAIT_S
    logs, until, pause = client("logs"), time.monotonic() + wait_s, 0.25
    while True:
        try:
            for event in _events(logs, group_of(function_name), since, '"REPORT RequestId"'):
                report = parse_report(event["message"])
                if report is not None and report.request_id in wanted:
                    found[report.request_id] = report
        except (ClientError, BotoCoreError):
            return found
        if wanted <= found.keys() or time.monotonic() >= until:
            return found
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


def with_billed_durations(
    calls: Sequence[Invocation], function_name: str, wait_s: float | None = None
) -> list[Invocation]:
    """The calls with their billed durations as CloudWatch reports them, where they have no REPORT line yet."""
    silent = [call for call in calls if call.request_id and not _has_report(call)]
    if not silent:
        return list(calls)
    since = min(call.started_at for call in silent)
    known = reports(function_name, {call.request_id for call in silent}, since, wait_s)
    return [call if _has_report(call) else with_report(call, known.get(call.request_id)) for call in calls]


def _has_report(call: Invocation) -> bool:
    return call.is_reported or call.is_emulated


def with_report(call: Invocation, report: Report | None) -> Invocation:
    """The call as its REPORT line has it; unchanged without one."""
    if report is None:
        return call
    return dataclasses.replace(
        call,
        request_id=report.request_id,  # a slower copy of a rank answers with the faster one's result, and its id
        duration_s=report.duration_s,
        init_s=report.init_s,
        billed_s=report.billed_s,
        billed_how=EMULATED if is_emulated() else REPORTED,
        memory_mb=report.memory_mb,
        max_memory_mb=float(report.max_memory_mb) or call.max_memory_mb,  # the emulator does not know it
        cold=call.cold or report.init_s > 0,
    )


def lines_of(function_name: str, request_ids: Collection[str], since: float, until: float) -> dict[str, list[str]]:
    """All log lines of invocations, by request id, in the order in which they were written.

    A line belongs to the request whose START came last in its log stream.

    Raises:
        BadInput: there is no such log group, or it may not be read.
    """
    found: dict[str, list[str]] = {request_id: [] for request_id in request_ids}
    current: dict[str, str] = {}
    try:
        for event in _events(client("logs"), group_of(function_name), since, "", until):
            stream, line = event.get("logStreamName", ""), event["message"].rstrip("\n")
            named = _REQUEST.search(line)
            if named:
                current[stream] = named[1]
            if (owner := current.get(stream, "")) in found:
                found[owner].append(line)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise BadInput(f"there is no log group {group_of(function_name)}: is the stack deployed here?") from None
        raise BadInput(explain(error)) from None
    except BotoCoreError as error:
        raise BadInput(explain(error)) from None
    return found


def _events(logs: Any, group: str, since: float, pattern: str, until: float | None = None) -> Iterator[dict[str, Any]]:
    words: dict[str, Any] = {"logGroupName": group, "startTime": int((since - _SKEW_S) * 1000)}
    if pattern:
        words["filterPattern"] = pattern
    if until is not None:
        words["endTime"] = int((until + _SKEW_S) * 1000)
    for page in logs.get_paginator("filter_log_events").paginate(**words):
        yield from page["events"]

"""A Step Functions execution as a whole: its phases, its items, what it is billed for, and why items failed."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from inference.contract.validation import sanitize_text
from inference.errors import BadInput
from tasks.aws.execution_history import Attempt, History, Phase, parsed, peak, rank_in
from tasks.aws.lambda_errors import HINTS, failure_kind

_EXECUTION = re.compile(r"arn:aws[\w-]*:states:(?P<region>[\w-]+):\d{12}:execution:[^\s:]{1,170}:[^\s:]{1,80}")
_UNSUCCESSFUL = ("FAILED", "TIMED_OUT", "ABORTED")
_DENIED = {"AccessDeniedException", "AccessDenied", "StateMachineTypeNotSupported"}
_PAGE = 1000
_READERS = 8
_COUNTED = "counted in the execution's history"


@dataclass(frozen=True, kw_only=True)
class Execution:
    """An execution as Step Functions describes it.

    Attributes:
        arn, state_machine_arn: of the execution and its machine.
        status: RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.
        started_at, stopped_at: seconds since the epoch; None while it runs.
        initialize, map, summarize: the states before the map, the map, the states after it; None where there is none.
        map_run_arn: of the map run of a distributed map.
        children: of a distributed map, STANDARD or EXPRESS; None for an inline one, or where it may not be read.
        items: how many by status, and `total`; empty where they are not known.
        item_seconds: how long each item took, from its start to its end.
        peak_concurrency: the most items under way at once; 0 where that is not known.
        retries: calls made again by the machine itself; None where that is not known.
        state_transitions: as AWS bills them; `transitions_how` says how they are known.
        error, cause: why it did not succeed.
        notes: what could not be read, and why.
    """

    arn: str
    state_machine_arn: str
    status: str
    started_at: float
    stopped_at: float | None
    initialize: Phase | None
    map: Phase | None
    summarize: Phase | None
    map_run_arn: str | None
    children: str | None
    items: Mapping[str, int]
    item_seconds: tuple[float, ...]
    peak_concurrency: int
    retries: int | None
    state_transitions: int
    transitions_how: str
    error: str | None
    cause: str | None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """From its start to its end; None while it runs."""
        return None if self.stopped_at is None else self.stopped_at - self.started_at

    @property
    def why(self) -> str:
        """How it ended, with the cause, as one clause."""
        reason = failure(self.error, self.cause)[0]
        return f"the execution ended {self.status}" + (f": {reason}" if reason else "")

    def to_dict(self) -> dict[str, Any]:
        """The execution as JSON, phases as `initialize_s`, `map_s`, `summarize_s`."""
        document = dataclasses.asdict(self) | {"seconds": self.seconds}
        for name in ("initialize", "map", "summarize"):
            phase: Phase | None = getattr(self, name)
            del document[name]
            document[f"{name}_s"] = phase.seconds if phase else None
        return document


def region_of(arn: str) -> str:
    """The region of an execution.

    Raises:
        BadInput: it is no ARN of an execution that keeps a history.
    """
    found = _EXECUTION.fullmatch(arn)
    if not found:
        what = "of an EXPRESS execution" if ":express:" in arn else repr(arn)[:100]
        raise BadInput(
            "ARN must be arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME, or"
            f" arn:aws:states:REGION:ACCOUNT:stateMachine:MACHINE, not {what}"
        )
    return found["region"]


def read_execution(client: Any, arn: str) -> Execution:
    """Everything about an execution, running or not.

    Raises:
        BadInput: there is no such execution, or its history is not as Step Functions writes it.
        ClientError: AWS refuses to describe it.
    """
    description = describe_execution(client, arn)
    notes: list[str] = []

    def allowed(call: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return call()
        except ClientError as error:
            if not is_denied(error):
                raise
            notes.append(f"{error.operation_name} is not allowed with these credentials")
            return otherwise

    history = History(allowed(lambda: list(execution_events(client, arn)), []))
    run = allowed(lambda: map_run(client, arn), None)
    items: dict[str, int] = {}
    seconds: Sequence[float] = history.item_seconds
    at_once = history.peak_concurrency
    kind, inside = None, 0
    if run is not None:
        items = dict(run["itemCounts"])
        kind, inside = allowed(lambda: _children(client, arn), (None, 0))
        there = allowed(lambda: list(_listed(client, run["mapRunArn"])), [])
        spans = [(_at(child["startDate"]), _at(child["stopDate"])) for child in there if child.get("stopDate")]
        seconds = [ended - started for started, ended in spans]
        steps = [(at, step) for span in spans if span[0] < span[1] for at, step in zip(span, (1, -1), strict=True)]
        at_once = peak(step for _, step in sorted(steps))
    elif history.map is not None:
        items = {"succeeded": history.succeeded} | ({"total": history.items} if history.items is not None else {})
    transitions, how = _transitions(history, run, kind, inside)
    return Execution(
        arn=arn,
        state_machine_arn=description["stateMachineArn"],
        status=description["status"],
        started_at=_at(description["startDate"]),
        stopped_at=_at(description["stopDate"]) if description.get("stopDate") else None,
        initialize=history.initialize,
        map=history.map,
        summarize=history.summarize,
        map_run_arn=run["mapRunArn"] if run else None,
        children=kind,
        items=items,
        item_seconds=tuple(seconds),
        peak_concurrency=at_once,
        retries=None if run else history.retries,
        state_transitions=transitions,
        transitions_how=how,
        error=description.get("error"),
        cause=description.get("cause"),
        notes=tuple(notes),
    )


def is_denied(error: ClientError) -> bool:
    """Whether these credentials may not ask, or this kind of execution is not asked."""
    return error.response["Error"]["Code"] in _DENIED


def describe_execution(client: Any, arn: str) -> dict[str, Any]:
    """DescribeExecution.

    Raises:
        BadInput: there is no such execution.
        ClientError: AWS refuses.
    """
    try:
        return dict(client.describe_execution(executionArn=arn))
    except ClientError as error:
        if error.response["Error"]["Code"] in {"ExecutionDoesNotExist", "InvalidArn"}:
            raise BadInput(f"there is no execution {arn} (AWS forgets one after 90 days)") from None
        raise


def execution_events(client: Any, arn: str) -> Iterator[dict[str, Any]]:
    """Every event of the execution's history, over as many pages as there are, 1,000 events each."""
    for page in client.get_paginator("get_execution_history").paginate(
        executionArn=arn, PaginationConfig={"PageSize": _PAGE}
    ):
        yield from page["events"]


def map_run(client: Any, arn: str) -> dict[str, Any] | None:
    """The execution's map run, described; None for an inline map, or before it began."""
    runs = client.list_map_runs(executionArn=arn)["mapRuns"]
    if not runs:
        return None
    first = min(runs, key=lambda run: _at(run["startDate"]))
    return dict(client.describe_map_run(mapRunArn=first["mapRunArn"]))


def attempts(client: Any, execution: Execution, *, unsuccessful: bool = True) -> list[Attempt]:
    """The calls of the map's items, with their ranks, as far as Step Functions keeps them.

    Args:
        client: boto3's, of `stepfunctions`.
        execution: with its map ended.
        unsuccessful: those that failed; else those of the items that ended well. Each child execution of a distributed
            map takes a request.

    Returns:
        Calls by the order of their ends; for a child execution that keeps no history (EXPRESS), one for all its
        calls.

    Raises:
        ClientError: AWS refuses.
    """
    if execution.map_run_arn is None:
        tied = [call for call in History(execution_events(client, execution.arn)).attempts if call.rank is not None]
        return [call for call in tied if (call.error is not None) == unsuccessful]

    def of_child(child: Mapping[str, Any]) -> list[Attempt]:
        description = client.describe_execution(executionArn=child["executionArn"])
        whole = Attempt(
            rank=rank_in(description.get("input")),
            started_at=_at(description["startDate"]),
            ended_at=_at(description.get("stopDate") or description["startDate"]),
            error=(description.get("error") or description["status"]) if unsuccessful else None,
            cause=(description.get("cause") or _ends(description["status"], execution.children))
            if unsuccessful
            else None,
        )
        if not unsuccessful or execution.children != "STANDARD":
            return [whole]
        calls = [
            call for call in History(execution_events(client, child["executionArn"])).attempts if call.error is not None
        ]
        return [dataclasses.replace(call, rank=whole.rank) for call in calls] or [whole]

    statuses = _UNSUCCESSFUL if unsuccessful else ("SUCCEEDED",)
    listed = [child for status in statuses for child in _listed(client, execution.map_run_arn, statusFilter=status)]
    with ThreadPoolExecutor(_READERS) as readers:
        found = [call for calls in readers.map(of_child, listed) for call in calls]
    return sorted(found, key=lambda call: call.ended_at)


def failure(error: str | None, cause: str | None) -> tuple[str, str]:
    """Why a call failed, as a person reads it, and the request id of its invocation where the cause has it.

    Lambda's own failures arrive as `error` and a JSON document in `cause`.
    """
    document = parsed(cause)
    if isinstance(document, Mapping) and document.get("errorMessage"):
        text, request_id = str(document["errorMessage"]), str(document.get("requestId") or "")
    else:
        text, request_id = ": ".join(part for part in (error, cause) if part), ""
    found = re.search(r"RequestId: ([0-9a-f-]{36})", text)
    ill = failure_kind(error or "", cause or "")
    hint = f": {HINTS[ill]}" if ill else ""
    return sanitize_text(" ".join(text.split())[:500]) + hint, request_id or (found[1] if found else "")


def _ends(status: str, children: str | None) -> str:
    if status == "TIMED_OUT":
        return "its child execution reached its time limit" + (
            " (EXPRESS ends at five minutes)" if children == "EXPRESS" else ""
        )
    return "it was stopped, with the map" if status == "ABORTED" else ""


def _children(client: Any, arn: str) -> tuple[str | None, int]:
    """What kind the map's child executions are, and how many states each has."""
    definition = parsed(client.describe_state_machine_for_execution(executionArn=arn).get("definition"))
    states = definition.get("States") if isinstance(definition, Mapping) else None
    for state in states.values() if isinstance(states, Mapping) else ():
        processor = (state.get("ItemProcessor") or {}) if state.get("Type") == "Map" else {}
        if processor.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            return processor["ProcessorConfig"].get("ExecutionType", "STANDARD"), len(processor.get("States", {}))
    return None, 0


def _transitions(history: History, run: Mapping[str, Any] | None, kind: str | None, inside: int) -> tuple[int, str]:
    """State transitions and how they are known: a distributed map adds one for each child that it starts."""
    if run is None:
        return history.state_transitions, _COUNTED
    counts = run.get("executionCounts") or run["itemCounts"]
    started = counts.get("total", 0) - counts.get("pending", 0)
    how = f"{_COUNTED}, and one for each of {started} child executions"
    if kind == "STANDARD":
        how += f" with {inside} more for its states; retries inside are not known"
        return history.state_transitions + started * (1 + inside), how
    if kind == "EXPRESS":
        how += "; EXPRESS children are billed by their seconds besides, which are not known"
    return history.state_transitions + started, how


def _listed(client: Any, map_run_arn: str, **only: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_executions").paginate(
        mapRunArn=map_run_arn, PaginationConfig={"PageSize": _PAGE}, **only
    ):
        yield from page["executions"]


def _at(moment: datetime | float) -> float:
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)

"""Ranks on AWS Lambda: one invocation a rank, and never two where one was meant."""

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from inference.contract.json_text import parse_json
from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.validation import sanitize_text
from inference.errors import BadInput, CosmicError, RankFailed
from inference.rank_results.external import import_external_result
from inference.rank_results.gather import read_result
from inference.storage.store import Store
from tasks.aws.lambda_errors import HINTS, NO_MEMORY, TIME_OUT, failure_kind
from tasks.aws.logs import billed, with_report
from tasks.aws.report_line import Report, report_in
from tasks.aws.session import client, explain
from tasks.executors.base import FINAL_ERRORS, RUN_ENDED, Call, Executor, checked_result, measured
from tasks.executors.threads import DaemonThreads
from tasks.invocations.invocation import Invocation

MAX_PAYLOAD = 6 * 2**20  # bytes of a synchronous invocation's event, and of its reply (Lambda quotas)
ACCOUNT_CONCURRENCY = 1_000  # ranks in flight at most: an account's own limit, unless raised
_OVERHEAD_S = 30.0  # above the function's time limit, before this side gives up waiting


@dataclass
class _Reply:
    """What came of one HTTP request: a reply, or what went wrong on the way."""

    started_at: float
    ended_at: float = 0.0
    body: bytes = b""
    error_kind: str | None = None
    report: Report | None = None
    request_id: str = ""
    failure: BaseException | None = field(default=None, repr=False)


class LambdaExecutor(Executor):
    """Invokes a deployed function for each rank and waits for its reply.

    The SDK retries nothing and waits longer than the function may run, so that one invocation means one execution. It
    backs off when Lambda refuses before running anything (429, 5xx, no connection); a call that broke off after it was
    sent may be running, so its result is looked for before the attempt counts as failed.

    Args:
        function_name: name or ARN.
        concurrency: ranks in flight at most.
        timeout_s: of a rank.
        refused_for_s: how long a rank is offered to a function that refuses it.
        lost_for_s: how long the result of a call that broke off is looked for.
    """

    name = "lambda"
    hedging = True

    def __init__(
        self,
        function_name: str,
        concurrency: int | None = None,
        timeout_s: float = 900.0,
        refused_for_s: float = 900.0,
        lost_for_s: float = 30.0,
    ) -> None:
        self.function_name = function_name
        self.concurrency = concurrency or ACCOUNT_CONCURRENCY
        self._timeout_s = timeout_s
        self._refused_for_s = refused_for_s
        self._lost_for_s = lost_for_s
        self._stopped = threading.Event()
        self._configuration: dict[str, Any] = {}
        self._region = ""
        self._jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret

    def check(self) -> None:
        """Look for the function and what it was given.

        Raises:
            BadInput: there is no such function, it may not be called, or it is not ready.
        """
        functions = client("lambda")
        try:
            found = functions.get_function_configuration(FunctionName=self.function_name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                region = functions.meta.region_name
                raise BadInput(
                    f"function_name: there is no function {self.function_name} in {region}: `cosmic deploy` makes one"
                ) from None
            raise BadInput(explain(error)) from None
        except BotoCoreError as error:
            raise BadInput(explain(error)) from None
        if found.get("State", "Active") not in {"Active", "Inactive"}:
            reason = found.get("StateReason", "no reason given")
            raise BadInput(f"function_name: {self.function_name} is {found['State']}, not ready: {reason}")
        self._configuration, self._region = found, str(functions.meta.region_name)

    def facts(self) -> dict[str, Any]:
        """The function, what it was given, and a note where it stops a rank before the request's own limit does."""
        notes = []
        if self._limit_s < self._timeout_s:
            limits = f"after {self._limit_s:g} s, before rank_timeout ({self._timeout_s:g} s)"
            notes = [f"the function {self.function_name} stops a rank {limits}"]
        return {"function": self.function_name, "function_memory_mb": self.memory_mb, "notes": notes}

    def place(self) -> dict[str, str]:
        """Region and architecture of the function, which prices depend on; known after `check`."""
        kinds = self._configuration.get("Architectures") or ["x86_64"]
        return {"region": self._region, "architecture": str(kinds[0])}

    @property
    def memory_mb(self) -> int:  # type: ignore[override]
        """What the function was given; known after `check`."""
        return int(self._configuration.get("MemorySize", 0))

    @property
    def _limit_s(self) -> float:
        """When the function itself ends a rank."""
        return float(self._configuration.get("Timeout", 900))

    def start(self) -> None:
        """Make the client."""
        if not self._configuration:
            self.check()
        self._stopped.clear()
        self._threads = DaemonThreads(self.concurrency)
        self._client = client(
            "lambda",
            connect_timeout=10,
            read_timeout=min(self._limit_s, self._timeout_s) + _OVERHEAD_S,
            retries={"total_max_attempts": 1},
            max_pool_connections=self.concurrency,
            tcp_keepalive=True,
            # What botocore would otherwise make out anew for every call, a sixth of the call's CPU time in all: whether
            # the arguments, which are ours, are of the right types, and a name for itself.
            parameter_validation=False,
            user_agent="cosmic-flows",
        )

    def stop(self) -> None:
        """Send nothing more; functions that run cannot be ended."""
        self._stopped.set()
        self._threads.stop()

    def settle(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """The same invocations, with what CloudWatch knows of those whose REPORT line did not come with the reply."""
        return billed(invocations, self.function_name)

    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Invoke the function for each rank, each call in a thread that waits for its reply."""
        calls = [Call(event) for event in events]
        for call in calls:
            self._threads.submit(call, self._invoke)
        return calls

    def _invoke(self, call: Call) -> Invocation:
        event, started = call.event, time.time()
        payload = json.dumps(event.to_wire()).encode()
        if len(payload) > MAX_PAYLOAD:
            reply = _Reply(started, started)
            error = "the rank's list of partitions exceeds 6 MB: use more ranks"
            return self._invocation(event, reply, None, error, final=True)
        try:
            reply = self._sent(payload, call)
        except RankFailed as error:
            return self._invocation(event, _Reply(started, time.time()), None, str(error))
        return self._answered(event, reply)

    def _sent(self, payload: bytes, call: Call) -> _Reply:
        """The reply to a call that Lambda accepted; it is offered again while Lambda refuses.

        Raises:
            RankFailed: Lambda refused for too long, or for good; or the executor was stopped.
        """
        until, refusals = time.monotonic() + self._refused_for_s, 0
        while True:
            if self._stopped.is_set():
                raise RankFailed(RUN_ENDED)
            reply = self._request(payload)
            if reply.failure is None or not _is_refusal(reply.failure):
                return reply
            refusals += 1
            pause = full_jitter(refusals, self._jitter.random())
            if time.monotonic() + pause > until:
                why = explain(reply.failure)
                raise RankFailed(f"Lambda refused the rank for {self._refused_for_s:g} s: {why}")
            call.sent_at = None
            if self._stopped.wait(pause):
                raise RankFailed(RUN_ENDED)
            call.sent_at = time.monotonic()

    def _request(self, payload: bytes) -> _Reply:
        reply = _Reply(time.time())
        try:
            answer = self._client.invoke(FunctionName=self.function_name, Payload=payload, LogType="Tail")
            reply.request_id = str(answer["ResponseMetadata"].get("RequestId", ""))
            reply.error_kind = answer.get("FunctionError")
            reply.report = report_in(answer.get("LogResult", ""))
            reply.body = answer["Payload"].read(MAX_PAYLOAD)
            if answer["Payload"].read(1):
                raise ValueError("the function's reply exceeds 6 MB")
        except Exception as error:  # noqa: BLE001 - whatever it is, the rank's thread must hear of it
            reply.failure = error
        reply.ended_at = time.time()
        return reply

    def _answered(self, event: RankEvent, reply: _Reply) -> Invocation:
        if reply.failure is not None:
            return self._broken(event, reply)
        try:
            document = parse_json(reply.body, "the function's reply")
        except BadInput as damaged:
            return self._invocation(event, reply, None, str(damaged))
        if reply.error_kind is not None:
            error, final = self._failure(document)
            return self._invocation(event, reply, None, error, final=final)
        try:
            return self._invocation(event, reply, self._result(event, reply, document), None)
        except CosmicError as error:
            return self._invocation(event, reply, None, str(error), final=isinstance(error, BadInput))

    def _result(self, event: RankEvent, reply: _Reply, document: object) -> RankResult:
        if not isinstance(document, str):
            return checked_result(document, event)
        if event.script is None:  # the contract's old function answers with a string
            raise BadInput(f"the function {self.function_name} is of an older version: run `cosmic deploy` again")
        return import_external_result(
            Store(event.store),
            event,
            started_at=reply.started_at,
            ended_at=reply.ended_at,
            request_id=reply.request_id,
            memory_limit_mb=self.memory_mb,
        )

    def _failure(self, document: object) -> tuple[str, bool]:
        """A failed function's own words, with a hint where there is one; and whether another attempt is pointless."""
        reply: Mapping[str, Any] = document if isinstance(document, Mapping) else {}
        name, message = str(reply.get("errorType", "")), str(reply.get("errorMessage", document))
        kind = failure_kind(name, message)
        if kind == TIME_OUT:
            return f"the function ran out of time after {self._limit_s:g} s: {HINTS[kind]}", False
        if kind == NO_MEMORY:
            return f"the function ran out of memory ({self.memory_mb:,} MB): {HINTS[kind]}", False
        return sanitize_text(message[:2000]), name in FINAL_ERRORS

    def _broken(self, event: RankEvent, reply: _Reply) -> Invocation:
        """A call that was sent and not answered: the rank may be running, or may even be done."""
        assert reply.failure is not None  # noqa: S101 - who calls has looked
        if isinstance(reply.failure, ClientError):  # refused for good
            return self._invocation(event, reply, None, explain(reply.failure), final=True)
        store, until, pause = Store(event.store), time.monotonic() + self._lost_for_s, 0.5
        while True:
            result = read_result(store, event)
            if result is not None:
                reply.ended_at = result.ended_at
                reply.request_id = result.request_id
                return self._invocation(event, reply, result, None)
            if time.monotonic() + pause > until or self._stopped.wait(pause):
                why = explain(reply.failure)
                error = f"the call broke off and left no result: {why}; it may be billed, and may still be running"
                return self._invocation(event, reply, None, error)
            pause = min(pause * 2, 5.0)

    def _invocation(
        self, event: RankEvent, reply: _Reply, result: RankResult | None, error: str | None, *, final: bool = False
    ) -> Invocation:
        facts: dict[str, Any] = {"request_id": (result.request_id if result else "") or reply.request_id}
        if result is not None:
            facts["duration_s"] = result.wall_total_s
        if error is not None and not reply.request_id:
            facts["billed_s"] = 0.0  # it never ran
        call = measured(
            event, reply.started_at, reply.ended_at, self.memory_mb, result, error, retryable=not final, **facts
        )
        return with_report(call, reply.report)


def _is_refusal(failure: BaseException) -> bool:
    """Whether Lambda ran nothing: it was too busy, it was ill, or it was never reached."""
    if isinstance(failure, ClientError):
        status = int(failure.response["ResponseMetadata"]["HTTPStatusCode"])
        return status == 429 or status >= 500
    return isinstance(failure, EndpointConnectionError | ConnectTimeoutError)


FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 20.0


def full_jitter(refusals: int, uniform: float) -> float:
    """Seconds to wait after so many refusals in a row: anything up to a bound that doubles, 0.2 s to 20 s.

    Args:
        refusals: 1 after the first.
        uniform: 0 to 1, drawn anew each time ("full jitter", AWS Architecture Blog, 2015), so that ranks that were
            refused together do not come back together.
    """
    return uniform * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(refusals - 1, 30))

"""Ranks on AWS Lambda: one invocation for each rank, and never two where one was meant."""

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from inference.contract.json_text import parse_json
from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.validation import sanitize_text
from inference.errors import BadInput, CosmicError
from inference.rank_results.external import import_external_result
from inference.rank_results.gather import read_result
from inference.storage.store import Store
from tasks.aws.function_configuration import given
from tasks.aws.lambda_errors import HINTS, NO_MEMORY, TIME_OUT, failure_kind
from tasks.aws.logs import with_billed_durations, with_report
from tasks.aws.session import client, explain
from tasks.executors.base import FINAL_ERRORS, Call, Executor, NothingRan, checked_result, measured
from tasks.executors.lambda_client import LambdaClient, Reply, Timers
from tasks.executors.lambda_limits import ACCOUNT_CONCURRENCY, MAX_PAYLOAD, full_jitter
from tasks.executors.threads import DaemonThreads
from tasks.invocations.invocation import Invocation

_FOLLOW_UPS = 32  # threads that ask the store about calls
_OVERHEAD_S = 30.0  # above the function's time limit, before this side gives up waiting


class LambdaExecutor(Executor):
    """Invokes a deployed function for each rank and waits for its reply.

    The client retries nothing and waits longer than the function may run, so that one invocation means one execution.
    The executor backs off when Lambda refuses before running anything (429, 5xx, no connection). A call that broke off
    after it was sent may be running, so its result is looked for before the attempt counts as failed.

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
        return {"function": self.function_name, **given(self._configuration), "notes": notes}

    def aws_location(self) -> dict[str, str]:
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
        self._threads = DaemonThreads(_FOLLOW_UPS)
        self._timers = Timers()
        read_timeout_s = min(self._limit_s, self._timeout_s) + _OVERHEAD_S
        self._client = LambdaClient(self.function_name, read_timeout_s, self._timers)

    def stop(self) -> None:
        """Send nothing more; functions that run cannot be ended."""
        self._stopped.set()
        self._timers.stop()
        self._threads.stop()

    def settle(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """The same invocations, with what CloudWatch knows of those whose REPORT line did not come with the reply."""
        return with_billed_durations(invocations, self.function_name)

    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Invoke the function for each rank; no thread waits for the replies."""
        calls = [Call(event) for event in events]
        for call in calls:
            payload = json.dumps(call.event.to_wire()).encode()
            if len(payload) > MAX_PAYLOAD:
                call.set_exception(NothingRan("the rank's list of partitions exceeds 6 MB: use more ranks"))
            else:
                self._send(call, payload, time.monotonic() + self._refused_for_s, 0)
        return calls

    def _send(self, call: Call, payload: bytes, until: float, refusals: int) -> None:
        """Send a call; where Lambda refuses, again and again until `until`."""
        call.sent_at = time.monotonic()

        def on_reply(reply: Reply) -> None:
            if reply.failure is None or not _is_refusal(reply.failure):
                return self._arrived(call, reply)
            call.sent_at = None
            pause = full_jitter(refusals + 1, self._jitter.random())
            if time.monotonic() + pause > until:
                why = f"Lambda refused the rank for {self._refused_for_s:g} s: {explain(reply.failure)}"
                return call.set_exception(NothingRan(why, retryable=True))
            return self._timers.after(pause, lambda: self._send(call, payload, until, refusals + 1))

        self._client.invoke(payload, on_reply)

    def _arrived(self, call: Call, reply: Reply) -> None:
        """Resolve a call: at once, or in a thread where the store must be asked."""
        if isinstance(reply.failure, ClientError):
            return call.set_exception(NothingRan(explain(reply.failure)))
        if reply.failure is not None:
            return self._threads.submit(call, lambda call: self._find_result(call.event, reply))
        if call.event.script is not None:  # an old function leaves its result in the store
            return self._threads.submit(call, lambda call: self._answered(call.event, reply))
        try:
            invocation = self._answered(call.event, reply)
        except Exception as error:  # noqa: BLE001 - this is a callback: the dispatcher must hear of whatever it is
            return call.set_exception(error)
        return call.set_result(invocation)

    def _answered(self, event: RankEvent, reply: Reply) -> Invocation:
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

    def _result(self, event: RankEvent, reply: Reply, document: object) -> RankResult:
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

    def _find_result(self, event: RankEvent, reply: Reply) -> Invocation:
        """A call that was sent and not answered: the rank may be running, or may even be done."""
        assert reply.failure is not None  # noqa: S101 - the caller has looked
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
        self, event: RankEvent, reply: Reply, result: RankResult | None, error: str | None, *, final: bool = False
    ) -> Invocation:
        facts: dict[str, Any] = {"request_id": (result.request_id if result else "") or reply.request_id}
        if result is not None:
            facts["duration_s"] = result.wall_total_s
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

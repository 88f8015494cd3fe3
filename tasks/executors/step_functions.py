"""Ranks through a Step Functions state machine: one execution plans, maps and summarizes them all.

The machine is the stack's or an existing one of either kind in the contract ("State machine"). Ranks are the machine's
to call, so there is no call a rank here: what the ranks did is read from their results once the execution has ended.
"""

import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from inference.contract.rank_event import RankEvent
from inference.contract.run_request import MEMORY_MB
from inference.errors import BadInput, CosmicError, RankFailed
from tasks.aws.execution import Execution, describe_execution, is_denied, map_run, read_execution
from tasks.aws.execution_history import History
from tasks.aws.function_configuration import configuration_of, given
from tasks.aws.logs import with_billed_durations
from tasks.aws.session import client, explain
from tasks.aws.stack_names import STACK, machine_name
from tasks.executors.base import RUN_ENDED, Call, Executor, NothingRan
from tasks.executors.sent_execution import SentExecution, forget_execution, note_execution, noted_execution
from tasks.executors.step_functions_ranks import RanksOfExecution, failed_calls, read_ranks
from tasks.invocations.invocation import Invocation

_FIRST_LOOK_S, _SLOWEST_LOOK_S, _SLOWER = 0.2, 2.0, 1.3
_APPEARS_WITHIN_S = 30.0  # DescribeExecution is eventually consistent
_STOPS_WITHIN_S = 60.0
_OVER = {"ValidationException", "ExecutionDoesNotExist"}  # it has ended, or was never started
_log = logging.getLogger(__name__)


class StepFunctionsExecutor(Executor):
    """Starts an execution, follows it, and reads what became of each rank.

    Args:
        state_machine_arn: of the machine, one of its versions or aliases; default the stack's, in this account and
            region.
        function_name: of the function that runs ranks, whose log holds what was billed.
        document: the request, which is the machine's input together with `run_id` and the staged model's key.

    Attributes:
        execution: once it has ended, else None.
    """

    name = "step-functions"
    concurrency = 1_000_000  # how many ranks run at once is for the machine to say
    takes_whole_run = True

    def __init__(self, state_machine_arn: str | None, function_name: str, document: Mapping[str, Any]) -> None:
        self._machine = state_machine_arn
        self._name = machine_name(str(document.get("stack_name", STACK)))
        self._function = function_name
        self._configuration: dict[str, Any] = {}
        self._document = document
        self.memory_mb = int(document.get("memory_mb", MEMORY_MB))
        self._running: str | None = None  # ARN of the execution
        self._adopted: str | None = None  # ARN of a killed run's execution, which `submit` follows
        self._abandoned: list[Execution] = []  # executions of killed runs, which have ended
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None  # follows the execution
        self.execution: Execution | None = None
        self._seen_done = 0
        self._repeated: list[Invocation] = []  # calls of a rank before its last, made by the machine itself

    def check(self) -> None:
        """Look for the machine, and as far as it may be read at its function.

        Raises:
            BadInput: there are no credentials, no such machine, it may not be described, or it keeps no history.
        """
        try:
            self._client = client("stepfunctions", retries={"mode": "standard", "max_attempts": 8})
            region = str(self._client.meta.region_name)
            if self._machine is None:
                caller = client("sts").get_caller_identity()
                partition = str(caller["Arn"]).split(":")[1]
                self._machine = f"arn:{partition}:states:{region}:{caller['Account']}:stateMachine:{self._name}"
            elif self._machine.split(":")[3] != region:
                raise BadInput(f"state_machine_arn: {self._machine} is not in {region}, the region in use")
            machine = self._client.describe_state_machine(stateMachineArn=self._machine)
        except ClientError as error:
            if error.response["Error"]["Code"] == "StateMachineDoesNotExist":
                raise BadInput(
                    f"state_machine_arn: there is no state machine {self._machine}: `cosmic deploy` makes one"
                ) from None
            raise BadInput(explain(error)) from error
        except BotoCoreError as error:
            raise BadInput(explain(error)) from error
        if machine.get("type", "STANDARD") != "STANDARD":
            raise BadInput(f"state_machine_arn: {self._machine} is of type EXPRESS, which keeps no history")
        self._configuration = configuration_of(self._function)
        self.memory_mb = int(self._configuration.get("MemorySize", self.memory_mb))

    def aws_location(self) -> dict[str, str]:
        """Region of the machine and, as far as it may be read, architecture of its function; known after `check`."""
        place = {"region": str(self._machine).split(":")[3]}
        found = self._configuration
        return place | ({"architecture": str((found.get("Architectures") or ["x86_64"])[0])} if found else {})

    def facts(self) -> dict[str, Any]:
        """The machine's function, and the execution once there was one."""
        execution = self.execution.to_dict() if self.execution else {"state_machine_arn": self._machine}
        abandoned = [each.to_dict() for each in self._abandoned]
        known = {"function": self._function, **given(self._configuration), "execution": execution}
        return known | ({"abandoned": abandoned} if abandoned else {})

    def recover(self, events: Sequence[RankEvent]) -> None:
        """Adopt the execution that a killed run left running under the same plan; stop any other, and bill it.

        Raises:
            RankFailed: AWS refuses, or the execution does not stop.
        """
        sent = noted_execution(events[0])
        if sent is None:
            return
        plan = {event.rank: event.fingerprint for event in events}
        try:
            if self._status(sent.arn) == "RUNNING":
                if sent.fingerprints.items() <= plan.items():
                    self._adopted = sent.arn
                    return
                self._stop_and_wait(sent.arn)
            if self._status(sent.arn) is not None:
                execution = read_execution(self._client, sent.arn)
                self._abandoned.append(execution)
                self._repeated += failed_calls(self._client, execution, plan.keys(), self.memory_mb)
        except (ClientError, BotoCoreError) as error:
            raise RankFailed(f"the execution {sent.arn} of an earlier run: {explain(error)}") from error
        forget_execution(events[0])

    def _status(self, arn: str) -> str | None:
        """Of an execution; None where there is none of this name."""
        try:
            return str(describe_execution(self._client, arn)["status"])
        except BadInput:
            return None

    def _stop_and_wait(self, arn: str) -> None:
        self._running = arn
        self._stop_execution()
        until = time.monotonic() + _STOPS_WITHIN_S
        while self._status(arn) == "RUNNING":
            if time.monotonic() > until:
                raise RankFailed(f"the execution {arn} of an earlier run does not stop: stop it, and run again")
            time.sleep(_FIRST_LOOK_S)

    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Start one execution for all ranks; its calls are resolved when it has ended."""
        calls = [Call(event) for event in events]
        self._thread = threading.Thread(target=self._resolve, args=(calls,), daemon=True, name="cosmic-execution")
        self._thread.start()
        return calls

    def stop(self) -> None:
        """Stop the execution, also one whose start is still on its way: that one is stopped once it exists."""
        self._stopped.set()
        self._stop_execution()
        if self._thread is not None:  # the process may end next, and the thread with it
            self._thread.join(_STOPS_WITHIN_S)

    def settle(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """The same with the calls that the machine repeated, and with what the function's log says was billed."""
        calls = sorted([*self._repeated, *invocations], key=lambda call: call.ended_at)
        return with_billed_durations(calls, self._function)

    def seen_done(self) -> int:
        """How many items of the map have ended well, until the execution has ended."""
        return self._seen_done

    def _resolve(self, calls: Sequence[Call]) -> None:
        """Run the execution to its end and resolve every call, whatever happens."""
        events = [call.event for call in calls]
        try:
            ranks = self._ranks(events)
        except Exception as error:  # noqa: BLE001 - the dispatcher must hear of whatever it is
            why = str(error) if isinstance(error, CosmicError) else repr(error)
            ranks = RanksOfExecution((), {event.rank: why for event in events})
        deciding = {invocation.rank: invocation for invocation in ranks.invocations}
        self._repeated += [call for call in ranks.invocations if call is not deciding[call.rank]]
        self._seen_done = 0
        for call in calls:
            if (invocation := deciding.get(call.event.rank)) is not None:
                call.set_result(invocation)
            else:
                call.set_exception(NothingRan(ranks.reasons[call.event.rank]))

    def _ranks(self, events: Sequence[RankEvent]) -> RanksOfExecution:
        """Start the execution, follow it to its end, and read what became of the ranks.

        Raises:
            RankFailed: the execution could not be started or followed, or the executor was stopped; either way the
                execution has been stopped.
            BadInput: its history is not as Step Functions writes it.
            StoreError: the results cannot be read.
        """
        try:
            try:
                arn = self._adopted or self._start(events)
                self._running = arn
                if self._stopped.is_set():  # it may have been stopped before it existed
                    raise RankFailed(RUN_ENDED)
                self._follow(arn)
            except BaseException:
                self._stop_execution()
                raise
            self._running = None
            self.execution = execution = read_execution(self._client, arn)
            ranks = read_ranks(self._client, execution, events, self.memory_mb)
            forget_execution(events[0])
            return ranks
        except (ClientError, BotoCoreError) as error:
            raise RankFailed(f"the state machine {self._machine}: {explain(error)}") from error

    def _start(self, events: Sequence[RankEvent]) -> str:
        event = events[0]
        document = dict(self._document) | {"run_id": self.run_id} | ({} if event.script else {"model": event.model})
        run_id = re.sub(r"[^\w-]", "-", self.run_id or "run", flags=re.ASCII)[:60]
        name = f"{run_id}-{secrets.token_hex(4)}"
        machine = ":".join(str(self._machine).split(":")[:7])  # without a version or an alias
        self._running = arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        note_execution(event, SentExecution(arn, {each.rank: each.fingerprint for each in events}))
        try:
            self._client.start_execution(stateMachineArn=self._machine, name=name, input=json.dumps(document))
        except ClientError as error:
            # The name is ours alone: where it is taken, an answer was lost on the way, and the client asked again.
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
        return arn

    def _follow(self, arn: str) -> None:
        began, pause = time.monotonic(), _FIRST_LOOK_S
        items = _Items(self._client, arn)
        while True:
            try:
                if describe_execution(self._client, arn)["status"] != "RUNNING":
                    return
                self._seen_done = items.succeeded()
            except BadInput:
                if time.monotonic() - began > _APPEARS_WITHIN_S:
                    raise
            if self._stopped.wait(pause):
                raise RankFailed(RUN_ENDED)
            pause = min(pause * _SLOWER, _SLOWEST_LOOK_S)

    def _stop_execution(self) -> None:
        arn, self._running = self._running, None
        if arn is None:
            return
        try:
            self._client.stop_execution(executionArn=arn, error="Cancelled", cause="the flow was left")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _OVER:
                _log.warning("the execution %s could not be stopped: %s", arn, explain(error))
        except BotoCoreError as error:
            _log.warning("the execution %s could not be stopped: %s", arn, explain(error))


class _Items:
    """How many items of a map have ended well, asked for again and again."""

    def __init__(self, states: Any, arn: str) -> None:
        self._states, self._arn = states, arn
        self._distributed = False
        self._events: list[dict[str, Any]] = []

    def succeeded(self) -> int:
        """As many as the map run tells, or as the execution's history holds; 0 where neither may be read."""
        try:
            run = map_run(self._states, self._arn)
            if run is not None:
                self._distributed = True
                return int(run["itemCounts"]["succeeded"])
            if not self._distributed:
                self._read_on()
        except ClientError as error:
            if not is_denied(error):
                raise
        return History(self._events).succeeded

    def _read_on(self) -> None:
        """Add the events since the last look, the newest page first."""
        last = max((event["id"] for event in self._events), default=0)
        pages = self._states.get_paginator("get_execution_history").paginate(
            executionArn=self._arn, reverseOrder=True, includeExecutionData=False, PaginationConfig={"PageSize": 1000}
        )
        for page in pages:
            fresh = [event for event in page["events"] if event["id"] > last]
            self._events += fresh
            if len(fresh) < len(page["events"]):
                return

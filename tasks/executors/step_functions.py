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
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from inference.contract.rank_event import RankEvent
from inference.errors import BadInput, RankFailed
from tasks.aws.execution import Execution, describe, is_denied, map_run, read_execution
from tasks.aws.execution_history import History
from tasks.aws.session import client, explain
from tasks.executors.step_functions_ranks import enter_ranks
from tasks.invocations.ledger import Ledger

MACHINE = "cosmic-flows"  # as the stack calls it
_FIRST_LOOK_S, _SLOWEST_LOOK_S, _SLOWER = 0.2, 2.0, 1.3
_APPEARS_WITHIN_S = 30.0  # DescribeExecution is eventually consistent
_MEMORY_MB = 10_240
_OVER = {"ValidationException", "ExecutionDoesNotExist"}  # it has ended, or was never started
_log = logging.getLogger(__name__)


class StepFunctionsExecutor:
    """Starts an execution, follows it, and tells what became of each rank.

    Args:
        state_machine_arn: of the machine, one of its versions or aliases; default the stack's, in this account and
            region.
        function_name: of the function that runs ranks, whose log knows what was billed.
    """

    name = "step-functions"

    def __init__(self, state_machine_arn: str | None, function_name: str) -> None:
        self._machine = state_machine_arn
        self._function = function_name
        self._running: str | None = None
        self._left = threading.Event()
        self._execution: Execution | None = None

    def check(self) -> None:
        """Look for the machine.

        Raises:
            BadInput: there are no credentials, no such machine, it may not be described, or it keeps no history.
        """
        try:
            self._client = client("stepfunctions", retries={"mode": "standard", "max_attempts": 8})
            region = str(self._client.meta.region_name)
            if self._machine is None:
                caller = client("sts").get_caller_identity()
                partition = str(caller["Arn"]).split(":")[1]
                self._machine = f"arn:{partition}:states:{region}:{caller['Account']}:stateMachine:{MACHINE}"
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

    def __enter__(self) -> Self:
        self._left.clear()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        self._stop()

    def place(self) -> dict[str, str]:
        """Region of the machine, which prices depend on; known after `check`."""
        return {"region": str(self._machine).split(":")[3]}

    def facts(self) -> dict[str, Any]:
        """The machine's function, and the execution once there was one."""
        execution = self._execution.to_dict() if self._execution else {"state_machine_arn": self._machine}
        return {"function": self._function, "execution": execution}

    def run(
        self,
        request_document: Mapping[str, Any],
        events: Sequence[RankEvent],
        ledger: Ledger,
        progress: Callable[[int], None],
    ) -> Execution:
        """Run all ranks as one execution and enter them in the ledger; a failed rank is told there, not raised.

        Args:
            request_document: the machine's input; `run_id` in it names the execution.
            events: the ranks that are not done.
            ledger: the run's.
            progress: called with the number of items that have ended well, every two seconds at least; what it raises
                stops the execution.

        Returns:
            The execution, ended, however it ended.

        Raises:
            RankFailed: the execution could not be started or followed, or the executor was left meanwhile; it has been
                stopped.
            BadInput: its history is not as Step Functions writes it.
            StoreError: the results cannot be read.
        """
        try:
            try:
                arn = self._start(request_document)
                self._follow(arn, progress)
            except BaseException:
                self._stop()
                raise
            self._running = None
            self._execution = execution = read_execution(self._client, arn)
            memory_mb = int(request_document.get("memory_mb", _MEMORY_MB))
            enter_ranks(self._client, execution, events, ledger, self._function, memory_mb)
            progress(execution.items.get("succeeded", 0))
        except (ClientError, BotoCoreError) as error:
            raise RankFailed(f"the state machine {self._machine}: {explain(error)}") from error
        return execution

    def _start(self, document: Mapping[str, Any]) -> str:
        run_id = re.sub(r"[^\w-]", "-", str(document.get("run_id") or "run"), flags=re.ASCII)[:60]
        name = f"{run_id}-{secrets.token_hex(4)}"
        machine = ":".join(str(self._machine).split(":")[:7])  # without a version or an alias
        self._running = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            self._client.start_execution(stateMachineArn=self._machine, name=name, input=json.dumps(dict(document)))
        except ClientError as error:
            # The name is ours alone: where it is taken, an answer was lost on the way, and the client asked again.
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
        return self._running

    def _follow(self, arn: str, progress: Callable[[int], None]) -> None:
        began, pause = time.monotonic(), _FIRST_LOOK_S
        look = _Items(self._client, arn)
        while True:
            try:
                if describe(self._client, arn)["status"] != "RUNNING":
                    return
                progress(look.succeeded())
            except BadInput:
                if time.monotonic() - began > _APPEARS_WITHIN_S:
                    raise
            if self._left.wait(pause):
                raise RankFailed("the run was left, and its execution was stopped")
            pause = min(pause * _SLOWER, _SLOWEST_LOOK_S)

    def _stop(self) -> None:
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

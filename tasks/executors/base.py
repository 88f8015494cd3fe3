"""The one protocol for running ranks: what an executor offers, and what it hands out."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.validation import sanitize_text
from inference.errors import BadInput, RankFailed
from tasks.invocations.invocation import MEASURED, Invocation

RUN_ENDED = "the run is over"  # the error of a call that was still open when its executor was stopped

# A function's errors that the same input causes every time.
FINAL_ERRORS = {"BadInput", "BadPartition", "BadCheckpoint"}
_LONGEST_ERROR = 2000  # characters of a worker's message that are looked through for secrets


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class NothingRan(RankFailed):
    """No function ran for a call, so nothing is billed; `retryable` says whether another attempt may help."""

    def __init__(self, why: str, *, retryable: bool = False) -> None:
        super().__init__(why)
        self.retryable = retryable


class Call(Future[Invocation]):
    """One copy of a rank in an executor's hands.

    Its result is an `Invocation` if a function ran, whether the rank succeeded or failed: one line of the bill. Its
    exception is `NothingRan` if none did. Any other exception counts as a defect of the executor: the rank's attempt
    fails, and the time since the call was sent is billed as an estimate.

    Attributes:
        event: the rank, with its attempt.
        sent_at: `time.monotonic()` when it was sent; None while it waits to be sent, or to be sent again after a
            refusal, and always None where only the executor knows when a rank starts. A call without it is not late.
    """

    def __init__(self, event: RankEvent) -> None:
        super().__init__()
        self.event = event
        self.sent_at: float | None = None


class Executor(ABC):
    """Runs ranks somewhere; the dispatcher decides which rank runs when, and what happens when one fails.

    The life of an executor is `check`, `recover`, `start`, any number of `submit`, `stop`, `settle`; what `facts` and
    `aws_location` say holds from `check` on. To add one, subclass this, write `submit` and
    `stop`, name the class in `tasks.executors.select`, and add it to the suite that every executor passes
    (`tests/tasks/executors/test_every_executor.py`).

    What the dispatcher relies on:

    - `submit` returns at once, with one `Call` for each event, in order. It hands on as many events as it is given: the
      dispatcher never has more than `concurrency` calls open.
    - Every call is resolved exactly once, from any thread, unless the executor is stopped first: when the rank's result
      lies in the store (`Invocation.result` is what the handler returned, see `checked_result`), or when this attempt
      has failed for certain.
    - An executor does not repeat a rank that failed; the rank's task run does that, with a new event of the next
      `attempt`. It may wait and send again what was refused before anything ran (a full cluster, HTTP 429), and what
      the end of a worker's job cut off, which is no fault of the rank; `settle` then adds the call that was cut off.
    - Events hold all that a worker needs (`inference.handler.lambda_handler(event.to_wire(), context)`).

    Attributes:
        name: as `--executor` has it.
        concurrency: calls that may be open at once.
        elastic: `concurrency` may grow during the run.
        in_process: `submit` runs the rank in the calling thread, and returns a call that is already resolved.
        takes_whole_run: all ranks of the run must be submitted together, and the executor repeats and gives up ranks by
            itself (a state machine); its failures are not retryable.
        hedging: late ranks get backups unless the request says otherwise.
        memory_mb: memory of the function in MB of 1,048,576 bytes, for the bill; known after `check`.
        run_id: of the flow run, set before `start`; what is made for the run elsewhere is named for it.
    """

    name: str
    concurrency: int
    elastic = False
    in_process = False
    takes_whole_run = False
    hedging = False
    memory_mb: int
    run_id = "run"

    def check(self) -> None:  # noqa: B027 - nothing to look for is a fair answer
        """Look whether ranks can run at all, before anything is written.

        Raises:
            BadInput: they cannot; the message says what is missing.
        """

    def start(self) -> None:  # noqa: B027 - not every executor has something to open
        """Open what calls need; called once, before the first `submit`."""

    def recover(self, events: Sequence[RankEvent]) -> None:  # noqa: B027 - most leave nothing behind that runs on
        """Find what a killed run of the same ranks left behind; called once, before the first `submit`.

        What still runs under the same plan is adopted by `submit` in place of a new start; anything else is stopped.
        What was spent is in `settle` and in `facts`.

        Args:
            events: of all ranks of the plan, also those that are done.
        """

    @abstractmethod
    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Hand ranks over without waiting for them; one call for each event, in order."""

    @abstractmethod
    def stop(self) -> None:
        """End what can be ended at once, and wait for nothing; a second time, do nothing."""

    def settle(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """The bill's lines once all is over.

        Args:
            invocations: of all calls, by the order of their ends.

        Returns:
            The same, with measured times replaced where the billed ones are known by now, and with the calls that the
            executor made on its own.
        """
        return list(invocations)

    def seen_done(self) -> int:
        """How many ranks the executor has seen done whose calls are still open, for the progress bar."""
        return 0

    def aws_location(self) -> dict[str, str]:
        """`region` and `architecture` of where ranks run, as far as they are known."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What the run's document says of where its ranks ran, as JSON."""
        return {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def checked_result(document: object, event: RankEvent) -> RankResult:
    """A function's reply as the result of the rank that was asked for.

    Raises:
        RankFailed: it is no rank result, or it belongs to another rank or another plan.
    """
    try:
        result = RankResult.from_wire(document)
    except BadInput as error:
        raise RankFailed(f"the function's reply is no rank result: {error}") from None
    if (result.rank, result.world_size) != (event.rank, event.world_size):
        answered = f"rank {result.rank} of {result.world_size} instead of {event.rank} of {event.world_size}"
        raise RankFailed(f"the function answered for {answered}")
    if result.fingerprint != event.fingerprint:
        raise RankFailed(f"the function answered for rank {event.rank} of another plan")
    return result


def read_reply(reply: Mapping[str, Any], event: RankEvent) -> tuple[RankResult | None, str | None, bool]:
    """The result in a worker's reply (`inference.worker`), or its error and whether another attempt is pointless."""
    if "errorType" in reply:
        message = str(reply.get("errorMessage", ""))[:_LONGEST_ERROR]
        return None, sanitize_text(message), reply["errorType"] in FINAL_ERRORS
    try:
        return checked_result(reply.get("result"), event), None, False
    except RankFailed as error:
        return None, str(error), False


def measured(
    event: RankEvent,
    started_at: float,
    ended_at: float,
    memory_mb: int,
    result: RankResult | None = None,
    error: str | None = None,
    **known: Any,
) -> Invocation:
    """The invocation of a call that was timed from here; its result says how much memory it used and who served it.

    Args:
        event: of the rank.
        started_at: seconds since the epoch.
        ended_at: seconds since the epoch.
        memory_mb: memory of the function.
        result: what it returned, None if it failed.
        error: why it failed, None if it did not.
        known: other fields of the invocation, in place of those measured.
    """
    seconds = max(ended_at - started_at, 0.0)
    facts: dict[str, Any] = {"duration_s": seconds, "billed_s": seconds, "billed_how": MEASURED}
    if result is not None:
        facts |= {"cold": result.cold, "worker": result.worker, "max_memory_mb": result.peak_rss_mb * 1e6 / 2**20}
    return Invocation(
        rank=event.rank,
        attempt=event.attempt,
        started_at=started_at,
        ended_at=ended_at,
        memory_mb=memory_mb,
        result=result,
        error=error,
        **(facts | known),
    )

"""What every executor offers, and what it tells of each invocation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from inference.errors import BadInput, RankFailed
from inference.events import RankEvent, RankResult


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One call of the handler: one line of the bill, whether it succeeded or not.

    Attributes:
        started_at, ended_at: seconds since the epoch by the caller's clock: the call was sent, the reply (or the
            failure) was there.
        duration_s: seconds in the handler; `init_s` seconds of start-up before it, 0 when warm.
        billed_s: seconds that AWS bills for; `billed_how` says how it is known: "REPORT line" or "measured here, an
            estimate".
        memory_mb: allocated (or, locally, asked for in the request); `max_memory_mb` used at most, 0 if not known; both
            in MB of 1,048,576 bytes, as Lambda counts.
        cold: a new process served this call.
        worker: the process that served it.
        result: what the handler returned, None when it failed.
        error: one sentence, None when it did not fail; `retryable` says whether another try may help.
        backup: it was a second copy of a rank that was late.
    """

    rank: int
    attempt: int
    started_at: float
    ended_at: float
    duration_s: float
    init_s: float
    billed_s: float
    billed_how: str
    memory_mb: int
    max_memory_mb: float
    cold: bool
    request_id: str
    worker: str
    result: RankResult | None = None
    error: str | None = None
    retryable: bool = True
    backup: bool = False


OVER = "the run is over"  # an invocation's error where the executor was left before it ended

# A function's errors that the same input brings about every time.
FINAL_ERRORS = {"BadInput", "BadPartition", "BadCheckpoint"}

TIME_OUT, NO_MEMORY = "time-out", "no memory"
HINTS = {
    TIME_OUT: "use smaller partitions, or deploy with a longer --timeout",
    NO_MEMORY: "use smaller partitions or batches, or deploy with more --memory",
}
_SIGNS = {
    TIME_OUT: ("Task timed out", "Sandbox.Timedout"),
    NO_MEMORY: ("Runtime.OutOfMemory", "signal: killed", "MemoryError"),
}


def illness(kind: str, message: str) -> str | None:
    """TIME_OUT or NO_MEMORY where Lambda's own words, the error's type and message, tell of it; else None."""
    return next((ill for ill, signs in _SIGNS.items() if any(sign in f"{kind} {message}" for sign in signs)), None)


def result_of(document: object, event: RankEvent) -> RankResult:
    """A function's reply as the result of the rank that was asked for.

    Raises:
        RankFailed: it is no rank result, or another rank's or another plan's.
    """
    try:
        result = RankResult.from_wire(document)
    except BadInput as error:
        raise RankFailed(f"the function's reply is no rank result: {error}") from None
    if (result.rank, result.world_size) != (event.rank, event.world_size):
        told = f"rank {result.rank} of {result.world_size} instead of {event.rank} of {event.world_size}"
        raise RankFailed(f"the function answered for {told}")
    if result.fingerprint != event.fingerprint:
        raise RankFailed(f"the function answered for rank {event.rank} of another plan")
    return result


class Executor(Protocol):
    """Runs ranks, at most `concurrency` at a time; may be called from that many threads at once.

    Attributes:
        in_process: ranks run in the thread that calls, one after the other.
        memory_mb: of the function, for the bill; known after `check`.
    """

    name: str
    concurrency: int
    in_process: bool

    @property
    def memory_mb(self) -> int:
        """See above."""
        ...

    def check(self) -> None:
        """Look whether ranks can be run at all; nothing is written before.

        Raises:
            BadInput: they cannot; the message says what is missing.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what can be ended at once and wait for nothing; again, it does nothing."""
        ...

    def invoke(self, event: RankEvent, under_way: Callable[[bool], None] = lambda _: None) -> Invocation:
        """Run one rank and wait for it; a failure is told in the invocation, not raised.

        Args:
            event: of the rank.
            under_way: told False when the rank was refused and waits to be sent again, True when it is.
        """
        ...

    def settle(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """The same invocations after the fan-out, measured times replaced where what was billed is known by now."""
        ...

    def place(self) -> dict[str, str]:
        """`region` and `architecture` of where ranks run, as far as they are known after `check`."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the run's document should say of where its ranks ran."""
        ...

"""What every executor offers, and what it tells of each invocation."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.errors import BadInput, RankFailed
from tasks.invocations.invocation import Invocation

RUN_ENDED = "the run is over"  # an invocation's error where the executor was left before it ended

# A function's errors that the same input brings about every time.
FINAL_ERRORS = {"BadInput", "BadPartition", "BadCheckpoint"}


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

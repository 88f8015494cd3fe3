"""The ranks of one task run: which of them an attempt runs, and whether another attempt follows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inference.contract.counted import listed
from inference.contract.rank_event import RankEvent
from inference.errors import RankFailed
from tasks.dispatch.dispatcher import Dispatcher

RETRY_DELAYS_S = [0.5, 2.0]  # before the second and the third attempt; jitter of the same size is added


class RanksFailed(RankFailed):
    """Ranks of a task run are not done; `retryable` says whether it should be run again."""

    def __init__(self, failed: Mapping[int, str], *, retryable: bool) -> None:
        named = (f"rank {rank}: {error.removeprefix(f'rank {rank}: ')}" for rank, error in failed.items())
        super().__init__(listed(named, most=5, joint="; "))
        self.retryable = retryable


class RankGroup:
    """The ranks of one task run, with what runs them; no dataclass, for the ledger's reason."""

    def __init__(self, events: Sequence[RankEvent], dispatcher: Dispatcher) -> None:
        self.events, self.dispatcher = events, dispatcher

    @property
    def is_gang(self) -> bool:
        """Whether the ranks send messages to one another, so that one cannot run without the others."""
        return self.events[0].messages is not None

    @property
    def label(self) -> str:
        """Name of the task run: `rank 007 of 041`, or `ranks 0001-0040 of 1200`; ranks count from 0."""
        size = self.events[0].world_size
        width = max(len(str(size)), 3)
        first, last = (f"{event.rank:0{width}d}" for event in (self.events[0], self.events[-1]))
        return f"rank{f' {first}' if len(self.events) == 1 else f's {first}-{last}'} of {size:0{width}d}"

    def to_run(self, attempt: int) -> list[RankEvent]:
        """The ranks that an attempt runs: those that are neither done nor given up; of a gang, all."""
        if self.is_gang:
            self.dispatcher.ledger.begin_again(event.rank for event in self.events)
            return [replace(event, attempt=attempt) for event in self.events]
        over = self.dispatcher.ledger.done | self.dispatcher.given_up
        return [replace(event, attempt=attempt) for event in self.events if event.rank not in over]

    def check(self) -> None:
        """See that every rank is done.

        Raises:
            RanksFailed: naming the ranks that failed, or why the run was stopped.
        """
        ledger, given_up = self.dispatcher.ledger, self.dispatcher.given_up
        failed = {event.rank: error for event in self.events if (error := ledger.last_error(event.rank)) is not None}
        if failed:
            over = failed.keys() & given_up if self.is_gang else failed.keys() <= given_up
            raise RanksFailed(failed, retryable=ledger.stop_reason is None and not over)

"""Dispatch: which rank runs when, which gets a backup, and when all of it stops; shared by the task runs of a fan-out.

Calls are made in threads that nobody waits for, at most as many as the executor runs ranks at once. A rank has ended
when the first of its copies brings a result, or the last of them fails.
"""

import bisect
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest, exceeded
from inference.errors import CosmicError
from tasks.dispatch.hedging import backups
from tasks.executors.base import RUN_ENDED, Executor
from tasks.invocations.invocation import Invocation
from tasks.invocations.ledger import Ledger
from tasks.invocations.stored import STILL_RUNNING

Ended = Invocation | None  # None: stopped before it ended


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a run may do and for how long (keys of the request).

    Attributes:
        hedging: late ranks get backups.
        tolerated_percentage, tolerated_count: failed ranks above which the run stops; None never stops it.
        until: `time.monotonic()` after which it stops, and why, as a clause.
    """

    hedging: bool = False
    tolerated_percentage: float | None = None
    tolerated_count: int | None = None
    until: tuple[float, str] | None = None

    @classmethod
    def of(cls, request: RunRequest, *, hedging: bool) -> Self:
        """The request's limits, its time running from now.

        Args:
            request: the checked request.
            hedging: whether late ranks get backups where the request does not say.
        """
        allowed, until = request.run_timeout, None
        if allowed is not None:
            until = time.monotonic() + allowed, f"the run took longer than {allowed:g} s (run_timeout)"
        return cls(
            hedging=hedging if request.hedging is None else request.hedging,
            tolerated_percentage=request.tolerated_failure_percentage,
            tolerated_count=request.tolerated_failure_count,
            until=until,
        )

    def over(self, failed: int, ranks: int) -> str | None:
        """Why a run stops now with so many ranks failed for good, as a clause; None if it goes on."""
        if self.until is not None and time.monotonic() > self.until[0]:
            return self.until[1]
        return exceeded(failed, ranks, self.tolerated_percentage, self.tolerated_count)


class _Rank:
    """A rank that was sent: its copies under way and who waits for it."""

    def __init__(self, event: RankEvent, ended: "SimpleQueue[Ended]") -> None:
        self.event, self._ended = event, ended
        self.copies = 1  # queued or under way
        self.backups = 0
        self.settled = False

    def settle(self, end: Ended) -> None:
        """Tell whoever waits."""
        self.settled = True
        self._ended.put(end)


class _Call:
    """A copy of a rank: under way since `began`, by the monotonic clock; or waiting to be sent, or sent again."""

    def __init__(self, rank: _Rank, *, backup: bool) -> None:
        self.rank, self.backup = rank, backup
        self.began: float | None = None

    def under_way(self, sent: bool) -> None:
        """Note that it was sent, or refused."""
        self.began = time.monotonic() if sent else None


class Dispatch:
    """Runs ranks on an executor; no dataclass, for the ledger's reason.

    Attributes:
        why: why it stopped, as a clause; None while it goes on.
        given_up: ranks that will not be tried again.

    Args:
        executor: runs ranks; entered and left with this.
        ledger: every invocation is entered there, a late one too.
        events: of all ranks that are to run.
        limits: of the run.
        cancelled: tells why the run is to stop at once, as a clause, or None.
    """

    def __init__(
        self,
        executor: Executor,
        ledger: Ledger,
        events: Sequence[RankEvent],
        limits: Limits | None = None,
        cancelled: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.executor, self.ledger = executor, ledger
        self.why: str | None = None
        self.given_up: set[int] = set()
        self._ranks, self._world_size = len(events), events[0].world_size
        self._limits, self._cancelled = limits or Limits(), cancelled
        self._lock = threading.Condition()
        self._queue: deque[_Call] = deque()
        self._under_way: set[_Call] = set()
        self._threads = 0
        self._open: dict[int, _Rank] = {}  # sent and not settled
        self._failed: set[int] = set()  # settled, and not sent again yet
        self._times: list[float] = []
        self._made = 0

    def __enter__(self) -> Self:
        self.executor.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop("the run is over")

    def run(self, events: Sequence[RankEvent]) -> list[Invocation]:
        """Run ranks and wait for them; from many threads at once.

        Returns:
            The invocations that decided: of each rank the first that brought a result, or the last that failed; none of
            ranks that were stopped.
        """
        ended: SimpleQueue[Ended] = SimpleQueue()
        with self._lock:
            if self.why is not None:
                return []
            for event in events:
                self._open[event.rank] = rank = _Rank(event, ended)
                self._failed.discard(event.rank)
                self._queue.append(_Call(rank, backup=False))
            self._serve()
        if self.executor.in_process or not self._threads:
            self._make_calls()
        ends = [ended.get() for _ in events]
        return [end for end in ends if end is not None]

    def give_up(self, ranks: Iterable[int]) -> None:
        """Count ranks as failed for good."""
        with self._lock:
            self.given_up.update(ranks)
        self.look()

    def look(self) -> None:
        """See whether it is time to stop, or for backups; to be called some times a second."""
        if self.why is None and (why := self._over()) is not None:
            self.stop(why)
        if not self._limits.hedging:
            return
        with self._lock:
            if self.why is not None:
                return
            now = time.monotonic()
            running = {
                call.rank.event.rank: now - began
                for call in self._under_way
                if (began := call.began) is not None and not (call.rank.settled or call.rank.backups)
            }
            counted = self._ranks - len(self._failed)  # nobody waits for these now
            for number, copies in backups(counted, self._times, running, self._made).items():
                rank = self._open[number]
                rank.backups = copies
                rank.copies += copies
                self._made += copies
                self._queue.extend(_Call(rank, backup=True) for _ in range(copies))
            self._serve()

    def stop(self, why: str) -> None:
        """Send no more, end what can be ended, and let nobody wait any longer."""
        with self._lock:
            if self.why is not None:
                return
            self.why = why
            self._queue.clear()
            for rank in self._open.values():
                rank.settle(None)
            self._open.clear()
            self._lock.notify_all()
        self.executor.__exit__(None, None, None)

    def write_off(self) -> None:
        """Enter the calls that nobody waits for any more: slower copies of ranks that are done, or what was stopped.

        A function that runs on is billed; how long it will, nobody here knows. What waited to be sent again is not.
        """
        with self._lock:
            left, self._under_way = self._under_way, set()
        for call in left:
            done = call.rank.event.rank in self.ledger.done
            why = "another copy of the rank was faster" if done else f"stopped: {self.why}"
            self.ledger.enter(self._unanswered(call, why, STILL_RUNNING))

    def _unanswered(self, call: _Call, why: str, how: str) -> Invocation:
        """A call that brought no reply, with the time since it was sent."""
        now, event = time.time(), call.rank.event
        seconds = 0.0 if (began := call.began) is None else time.monotonic() - began
        return Invocation(
            rank=event.rank,
            attempt=event.attempt,
            started_at=now - seconds,
            ended_at=now,
            duration_s=seconds,
            init_s=0.0,
            billed_s=seconds,
            billed_how=how,
            memory_mb=self.executor.memory_mb,
            max_memory_mb=0.0,
            cold=False,
            request_id="",
            worker="",
            error=why,
            backup=call.backup,
        )

    def _over(self) -> str | None:
        return self._limits.over(len(self.given_up), self._world_size) or self._cancelled()

    def _serve(self) -> None:
        """Have a thread for everything in the queue, as far as there may be threads; with the lock held."""
        if self.executor.in_process:
            return
        free = self._threads - len(self._under_way)  # also those that have not come to take their first call yet
        for _ in range(min(len(self._queue) - free, self.executor.concurrency - self._threads)):
            try:
                threading.Thread(target=self._make_calls, args=(True,), daemon=True).start()
            except RuntimeError:  # this machine gives no more: those that there are take turns
                break
            self._threads += 1
        self._lock.notify(len(self._queue))

    def _make_calls(self, stay: bool = False) -> None:
        """Make the calls that are queued; or, in a thread of the pool, those that will be, until all stops."""
        while (call := self._next(stay)) is not None:
            try:
                end = self.executor.invoke(call.rank.event, call.under_way)
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits for the rank must hear of it
                told = str(error) if isinstance(error, CosmicError) else repr(error)
                end = self._unanswered(call, told, "measured here, an estimate")
            self._end(call, end)
            if not stay:
                self.look()

    def _next(self, stay: bool) -> _Call | None:
        with self._lock:
            while True:
                while stay and not self._queue and self.why is None:
                    self._lock.wait()
                if not self._queue:
                    return None
                call = self._queue.popleft()
                if not call.rank.settled:  # else a backup that is not needed any more
                    call.under_way(True)
                    self._under_way.add(call)
                    return call

    def _end(self, call: _Call, end: Invocation) -> None:
        rank = call.rank
        with self._lock:
            if call not in self._under_way:
                return  # written off
            self._under_way.discard(call)
            error = f"stopped: {self.why}" if end.error == RUN_ENDED else end.error
            end = dataclasses.replace(end, backup=call.backup, error=error)
            self.ledger.enter(end)
            rank.copies -= 1
            if rank.settled or (rank.copies and end.result is None):
                return
            del self._open[rank.event.rank]
            if end.result is not None:
                bisect.insort(self._times, end.ended_at - end.started_at)
            else:
                self._failed.add(rank.event.rank)
            rank.settle(end)

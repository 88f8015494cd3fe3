"""The dispatcher: which rank runs when, which gets a backup, and when all of it stops.

All task runs of a fan-out share one. They hand in their ranks and wait; one loop sends the ranks, takes the calls that
ended, makes backups and stops the run. A rank has ended when the first of its copies brings a result, or when the last
of them fails.
"""

import bisect
import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Self

from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.contract.tolerance import exceeded
from inference.errors import CosmicError
from tasks.dispatch.clock import Clock
from tasks.dispatch.hedging import backups, late_after
from tasks.executors.base import RUN_ENDED, Call, Executor, NothingRan, measured
from tasks.invocations.invocation import STILL_RUNNING, Invocation
from tasks.invocations.ledger import Ledger

ATTEMPTS = 3  # of a rank, before it is given up
_KILLED = "the run was killed"
POLL_S = 0.05  # between two looks at the limits and at which ranks are late


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a run may do and for how long (keys of the request).

    Attributes:
        hedging: late ranks get backups.
        tolerated_percentage, tolerated_count: failed ranks above which the run stops; None never stops it.
        gang: ranks are sent all at once or not at all.
        until: `Clock.monotonic()` after which it stops, and why, as a clause.
    """

    hedging: bool = False
    tolerated_percentage: float | None = None
    tolerated_count: int | None = None
    gang: bool = False
    until: tuple[float, str] | None = None

    @classmethod
    def of(cls, request: RunRequest, executor: Executor, clock: Clock | None = None) -> Self:
        """The request's limits on this executor, its time running from now.

        A script writes its rank's result itself, so that the slower copy would overwrite the faster one's: no backups.
        An executor that takes the whole run gives up ranks by its own rule, and only time stops it from here.
        """
        allowed, until = request.run_timeout, None
        if allowed is not None:
            until = (clock or Clock()).monotonic() + allowed, f"the run took longer than {allowed:g} s (run_timeout)"
        counted = not executor.takes_whole_run
        return cls(
            hedging=executor.hedging and request.script is None if request.hedging is None else request.hedging,
            tolerated_percentage=request.tolerated_failure_percentage if counted else None,
            tolerated_count=request.tolerated_failure_count if counted else None,
            gang=request.messages is not None,
            until=until,
        )

    def exceeded(self, failed: int, ranks: int, now: float) -> str | None:
        """Why a run stops now with so many ranks given up, as a clause; None if it goes on."""
        if self.until is not None and now > self.until[0]:
            return self.until[1]
        return exceeded(failed, ranks, self.tolerated_percentage, self.tolerated_count)


class _Batch:
    """Ranks that one task run handed in together and waits for."""

    def __init__(self, events: Sequence[RankEvent]) -> None:
        self.events = events
        self.left = len(events)
        self.ended = Future[None]()


class _Rank:
    """A rank that has not ended, and its copies that are queued or open."""

    def __init__(self, event: RankEvent, batch: _Batch) -> None:
        self.event, self.batch = event, batch
        self.copies = 1
        self.backups = 0
        self.ended = False


class _Copy:
    """One copy of a rank, queued or open."""

    def __init__(self, rank: _Rank, *, backup: bool) -> None:
        self.rank, self.backup = rank, backup


class Dispatcher:
    """Runs ranks on an executor; entered and left with it. No dataclass, for the ledger's reason.

    Args:
        executor: runs ranks.
        ledger: every invocation is entered there, and why the run was stopped.
        events: of all ranks that are to run.
        limits: of the run.
        cancelled: says why the run is to stop at once, as a clause, or None.
        clock: the time; a virtual one where the run is only simulated.
    """

    def __init__(
        self,
        executor: Executor,
        ledger: Ledger,
        events: Sequence[RankEvent],
        limits: Limits | None = None,
        cancelled: Callable[[], str | None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.executor, self.ledger = executor, ledger
        self._ranks, self._world_size = len(events), events[0].world_size
        self._limits, self._cancelled = limits or Limits(), cancelled
        self._lock = threading.Lock()  # around the next two, which task runs share with the loop
        self._batches: set[_Batch] = set()
        self._left = False
        self._inbox: SimpleQueue[_Batch | Call | None] = SimpleQueue()  # None only wakes the loop
        self._queue: deque[_Copy] = deque()
        self._calls: dict[Call, _Copy] = {}  # open
        self._running: dict[int, _Rank] = {}  # ranks that are queued or open
        self._failed: dict[int, bool] = {}  # ranks whose last attempt failed: given up, or to be tried again
        self._times: list[float] = []  # seconds that each done rank took, sorted
        self._backups = 0

    def __enter__(self) -> Self:
        self.executor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    @property
    def given_up(self) -> set[int]:
        """Ranks that failed and are not tried again."""
        return {rank for rank, final in self._failed.items() if final}

    def run(self, events: Sequence[RankEvent]) -> None:
        """Run ranks and wait until each has ended, or the run has stopped; may be called from many threads at once."""
        ended = self.hand_in(events)
        if self.executor.in_process:
            self.serve(ended.done)
        ended.result()

    def hand_in(self, events: Sequence[RankEvent]) -> Future[None]:
        """Have ranks run, without waiting; the future is resolved when each has ended, or the run has stopped."""
        batch = _Batch(events)
        with self._lock:
            if self._left or not events:
                batch.ended.set_result(None)
                return batch.ended
            self._batches.add(batch)
        self._inbox.put(batch)
        return batch.ended

    def serve(self, until: Callable[[], bool], on_poll: Callable[[], None] = lambda: None) -> None:
        """The loop: send ranks and take what ended, until `until()` holds or the run has stopped.

        Args:
            until: asked after each turn; `wake` brings about a turn.
            on_poll: called some twenty times a second.
        """
        polled_at = 0.0
        while not (until() or self._left):
            self._turn(self.clock.quiet_s if self._quiet() else POLL_S)
            if (reason := self._reason_to_stop()) is not None:
                self.stop(reason)
                return
            if (now := self.clock.monotonic()) - polled_at >= POLL_S:
                polled_at = now
                self._hedge(now)
                on_poll()

    def open_calls(self) -> list[Invocation]:
        """The calls that were sent and are not answered, as they are billed should this process be killed now."""
        calls = list(self._calls.items())
        return [self._still_running(call, copy, _KILLED) for call, copy in calls if call.sent_at is not None]

    def wake(self, *_: object) -> None:
        """Have the loop look at its condition now."""
        self._inbox.put(None)

    def stop(self, reason: str) -> None:
        """Send no more, end what can be ended, and let nobody wait any longer; `reason` is a clause."""
        if not self._left:
            self.ledger.stop_reason = reason
            self._leave()

    def _turn(self, timeout_s: float) -> None:
        """Take everything that has arrived, waiting for the first of it, and fill the executor up."""
        try:
            arrived = self.clock.wait(self._inbox, timeout_s)
            while True:
                if isinstance(arrived, _Batch):
                    self._open(arrived)
                elif arrived is not None:
                    self._end(arrived)
                arrived = self._inbox.get_nowait()
        except Empty:
            pass
        self._send()

    def _open(self, batch: _Batch) -> None:
        for event in batch.events:
            self._running[event.rank] = rank = _Rank(event, batch)
            self._failed.pop(event.rank, None)
            self._queue.append(_Copy(rank, backup=False))

    def _send(self) -> None:
        room, copies = self.executor.concurrency - len(self._calls), list[_Copy]()
        if self._limits.gang and room < len(self._queue):
            return
        while self._queue and len(copies) < room:
            copy = self._queue.popleft()
            if not copy.rank.ended:  # else a backup that is not needed any more
                copies.append(copy)
        if not copies or self._left:
            return
        events = [copy.rank.event for copy in copies]
        try:
            calls = self.executor.submit(events)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for the ranks must hear of it
            calls = [Call(event) for event in events]
            for call in calls:
                call.set_exception(NothingRan(_sentence(error), retryable=True))
        for call, copy in zip(calls, copies, strict=True):
            self._calls[call] = copy
            call.add_done_callback(self._arrived)

    def _arrived(self, call: Future[Invocation]) -> None:
        assert isinstance(call, Call)  # noqa: S101 - it is given to calls alone
        self._inbox.put(call)

    def _end(self, call: Call) -> None:
        """Enter an ended call; end its rank if it has a result or was the last copy."""
        copy = self._calls.pop(call)
        rank = copy.rank
        error = call.exception()
        if isinstance(error, NothingRan):
            end, retryable = None, error.retryable
            self.ledger.never_ran([rank.event.rank], self._why(str(error)))
        else:
            end = self._unanswered(call, _sentence(error)) if error is not None else call.result()
            end = dataclasses.replace(end, backup=copy.backup, error=end.error and self._why(end.error))
            retryable = end.retryable
            self.ledger.enter(end)
        done = end is not None and end.result is not None
        rank.copies -= 1
        if rank.ended or (rank.copies and not done):
            return
        rank.ended = True
        number = rank.event.rank
        del self._running[number]
        if done and end is not None:
            bisect.insort(self._times, end.ended_at - end.started_at)
        else:
            self._failed[number] = not retryable or rank.event.attempt >= ATTEMPTS
        rank.batch.left -= 1
        if not rank.batch.left:
            with self._lock:
                self._batches.discard(rank.batch)
            rank.batch.ended.set_result(None)

    def _reason_to_stop(self) -> str | None:
        return self._limits.exceeded(len(self.given_up), self._world_size, self.clock.monotonic()) or self._cancelled()

    def _quiet(self) -> bool:
        """Neither a limit nor a late rank can make anything happen before a call ends."""
        counted = self._ranks - len(self._failed)
        return self._limits.until is None and not (
            self._limits.hedging and late_after(counted, self._times) is not None
        )

    def _hedge(self, now: float) -> None:
        """Make backups of late ranks."""
        counted = self._ranks - len(self._failed)  # nobody waits for a rank that failed
        if not self._limits.hedging or late_after(counted, self._times) is None:
            return
        running = {
            copy.rank.event.rank: now - call.sent_at
            for call, copy in self._calls.items()
            if call.sent_at is not None and not (copy.rank.ended or copy.rank.backups)
        }
        for number, copies in backups(counted, self._times, running, self._backups).items():
            rank = self._running[number]
            rank.backups = copies
            rank.copies += copies
            self._backups += copies
            self._queue.extend(_Copy(rank, backup=True) for _ in range(copies))
        self._send()

    def _leave(self) -> None:
        """Stop the executor, let nobody wait any longer, and enter the calls that are still open."""
        with self._lock:
            if self._left:
                return
            self._left = True
        self._queue.clear()
        self.executor.stop()
        self._turn(0.0)  # what has ended by now
        for call in self._calls:
            self._write_off(call)
        with self._lock:
            batches, self._batches = self._batches, set()
        for batch in batches:
            batch.ended.set_result(None)

    def _write_off(self, call: Call) -> None:
        """Enter a call that nobody waits for any more: a slower copy of a rank that is done, or one that was stopped.

        A function that runs on is billed; how long it will, nobody here knows. A call that was not sent is not billed.
        """
        if call.sent_at is None:
            return
        copy = self._calls[call]
        done = copy.rank.event.rank in self.ledger.done
        why = "another copy of the rank was faster" if done else self._why(RUN_ENDED)
        self.ledger.enter(self._still_running(call, copy, why))

    def _still_running(self, call: Call, copy: _Copy, why: str) -> Invocation:
        return dataclasses.replace(self._unanswered(call, why), backup=copy.backup, billed_how=STILL_RUNNING)

    def _unanswered(self, call: Call, why: str) -> Invocation:
        """A call that brought no reply, with the time since it was sent."""
        now = self.clock.time()
        seconds = 0.0 if call.sent_at is None else self.clock.monotonic() - call.sent_at
        return measured(call.event, now - seconds, now, self.executor.memory_mb, error=why)

    def _why(self, error: str) -> str:
        """An error as the ledger has it: a call that ended because the run did was stopped."""
        return f"stopped: {self.ledger.stop_reason or RUN_ENDED}" if error == RUN_ENDED else error


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, CosmicError) else repr(error)

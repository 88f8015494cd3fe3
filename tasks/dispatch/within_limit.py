"""An executor whose ranks start only in slots of a limit that is shared with other runs."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

from inference.contract.rank_event import RankEvent
from tasks.executors.base import Call, Executor
from tasks.invocations.invocation import Invocation


class Slots(Protocol):
    """Slots of a shared limit (`tasks.prefect_support.rank_slots.RankSlots`)."""

    @property
    def held(self) -> int:
        """How many this run holds now."""

    def want(self, number: int) -> None:
        """Say how many it could use now; more are asked for, and those that it holds beyond are given back."""


class WithinLimit(Executor):
    """Another executor, with no more calls open at once than there are slots.

    A slot is kept from rank to rank while ranks are left: the limit costs nothing a rank.
    """

    elastic = True

    def __init__(self, executor: Executor, slots: Slots, ranks: int) -> None:
        self._executor, self._slots = executor, slots
        self._left, self._lock = ranks, threading.Lock()
        self.name, self.memory_mb, self.run_id = executor.name, executor.memory_mb, executor.run_id
        self.in_process, self.takes_whole_run = executor.in_process, executor.takes_whole_run
        self.hedging = executor.hedging

    @property
    def concurrency(self) -> int:  # type: ignore[override]
        """As many as the executor has room for, and as there are slots; none before the first slot."""
        room = self._executor.concurrency
        self._slots.want(min(room, 2 * self._left if self.hedging else self._left))
        return min(room, self._slots.held)

    def start(self) -> None:
        """Start the executor."""
        self._executor.start()

    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Hand the ranks on."""
        calls = self._executor.submit(events)
        for call in calls:
            call.add_done_callback(self._count)
        return calls

    def _count(self, call: Any) -> None:
        if call.exception() is None and call.result().result is not None:
            with self._lock:
                self._left = max(self._left - 1, 1)

    def stop(self) -> None:
        """Stop the executor."""
        self._executor.stop()

    def settle(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """As the executor does."""
        return self._executor.settle(invocations)

    def seen_done(self) -> int:
        """As the executor says."""
        return self._executor.seen_done()

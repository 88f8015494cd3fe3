"""A clock that jumps from event to event, so that a run of hours is simulated in seconds."""

import heapq
import itertools
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from tasks.dispatch.clock import Clock

T = TypeVar("T")


class VirtualClock(Clock):
    """Time that passes only while the dispatcher waits; it begins at 0.

    >>> clock, inbox = VirtualClock(), SimpleQueue()
    >>> clock.after(3.0, lambda: inbox.put("a rank ended"))
    >>> clock.wait(inbox, 10.0), clock.monotonic()
    ('a rank ended', 3.0)
    """

    quiet_s = 1e6  # nobody cancels a simulated run, nor looks at it

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def time(self) -> float:
        """The same: the simulated run begins at the epoch."""
        return self._now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen in so many seconds."""
        heapq.heappush(self._due, (self._now + seconds, next(self._order), action))

    def wait(self, inbox: "SimpleQueue[T]", timeout_s: float) -> T:
        """The next entry of the inbox, time passing until there is one.

        Raises:
            Empty: none came within `timeout_s`, which have passed.
        """
        until = self._now + timeout_s
        while inbox.empty():
            if not self._due or self._due[0][0] > until:
                self._now = until
                raise Empty
            self._now, _, action = heapq.heappop(self._due)
            action()
        return inbox.get_nowait()

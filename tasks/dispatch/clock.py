"""Time as the dispatcher sees it: the real clock here, a virtual one where a run is only simulated."""

import time
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """The real time. A virtual clock (`tasks.planning.virtual_clock`) has the same three methods."""

    def monotonic(self) -> float:
        """Seconds that never go back, as `time.monotonic`."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def wait(self, inbox: "SimpleQueue[T]", timeout_s: float) -> T:
        """The next entry of the inbox.

        Raises:
            Empty: none came within `timeout_s`.
        """
        return inbox.get(timeout=timeout_s)

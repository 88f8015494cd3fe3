"""Time as the dispatcher sees it: the real clock here, a virtual one where a run is only simulated."""

import time
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """The real time. A virtual clock (`tasks.planning.virtual_clock`) has the same three methods.

    Attributes:
        quiet_s: between two turns in which only people can bring about anything: they cancel, and look at progress.
    """

    quiet_s = 0.05

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

"""Threads that nobody waits for, for calls that block."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from tasks.executors.base import Call
from tasks.invocations.invocation import Invocation


class DaemonThreads:
    """A pool of at most `limit` daemon threads that resolve calls.

    A thread that waits for a reply cannot be ended, and Python waits at its exit for the threads of its own pools; so
    these are daemons. Where the machine gives fewer threads, calls take turns on those there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[tuple[Call, Callable[[Call], Invocation]] | None] = SimpleQueue()
        self._threads = 0
        self._open = 0  # calls queued or at work

    def submit(self, call: Call, work: Callable[[Call], Invocation]) -> None:
        """Resolve the call in a thread, with what `work` returns or raises."""
        with self._lock:
            self._open += 1
            if self._open > self._threads and self._threads < self._limit:
                self._add_thread()
            here = not self._threads
        if here:
            self._resolve(call, work)
        else:
            self._tasks.put((call, work))

    def stop(self) -> None:
        """End threads as they fall idle; calls that are queued are still resolved first."""
        with self._lock:
            threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._tasks.put(None)

    def _add_thread(self) -> None:
        try:
            threading.Thread(target=self._serve, daemon=True, name="cosmic-call").start()
        except RuntimeError:  # the machine gives no more
            self._limit = self._threads
        else:
            self._threads += 1

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._resolve(*task)

    def _resolve(self, call: Call, work: Callable[[Call], Invocation]) -> None:
        call.sent_at = call.sent_at or time.monotonic()
        try:
            invocation = work(call)
        except Exception as error:  # noqa: BLE001 - the dispatcher must hear of whatever it is
            self._finish()
            call.set_exception(error)
        else:
            self._finish()
            call.set_result(invocation)

    def _finish(self) -> None:
        with self._lock:
            self._open -= 1

"""The invocations of a run while it runs."""

import threading
import time
from collections.abc import Iterable
from typing import Any

from inference.contract.counted import counted
from tasks.invocations.invocation import Invocation


class Ledger:
    """The invocations of a run, entered as they end; shared by the threads of the fan-out.

    No dataclass, because Prefect walks through those that a task is given, while other threads enter invocations here.

    Attributes:
        invocations: in the order in which they ended.
        done: the ranks that have a result.
        dispatched_at: when the fan-out began, seconds since the epoch.
        stop_reason: why the fan-out was stopped before its end, as a clause; None if it was not.
    """

    def __init__(self) -> None:
        self.invocations: list[Invocation] = []
        self.done: set[int] = set()
        self.dispatched_at = time.time()
        self.stop_reason: str | None = None
        self._errors: dict[int, str] = {}  # the last error of each rank that had one
        self._lock = threading.Lock()

    def enter(self, invocation: Invocation) -> None:
        """Enter one invocation; its rank is done when it has a result."""
        with self._lock:
            self.invocations.append(invocation)
            if invocation.result is not None:
                self.done.add(invocation.rank)
            elif invocation.error is not None:
                self._errors[invocation.rank] = invocation.error

    def begin_again(self, ranks: Iterable[int]) -> None:
        """Ranks run once more, also those that are done; what was spent on them stays."""
        with self._lock:
            self.done.difference_update(ranks)

    def never_ran(self, ranks: Iterable[int], why: str) -> None:
        """Note why ranks have no invocation; an error that is already known stands."""
        with self._lock:
            for rank in ranks:
                self._errors.setdefault(rank, why)

    def last_error(self, rank: int) -> str | None:
        """Why a rank is not done: its last error, else why the run was stopped; None if it is done, or nobody knows."""
        if rank in self.done:
            return None
        stopped = None if self.stop_reason is None else f"stopped: {self.stop_reason}"
        return self._errors.get(rank, stopped)

    def backups(self) -> dict[str, Any]:
        """Second copies of late ranks: of how many ranks, how many calls, seconds billed, and how many were faster."""
        made = [call for call in self.invocations if call.backup]
        late = {call.rank for call in made}
        first: dict[int, Invocation] = {}
        for call in self.invocations:
            if call.rank in late and call.result is not None:
                first.setdefault(call.rank, call)  # the first to end decided
        return {
            "ranks": len(late),
            "invocations": len(made),
            "faster": sum(call.backup for call in first.values()),
            "billed_s": sum(call.billed_s for call in made),
        }

    def notes(self) -> list[str]:
        """What a person should know about the backups."""
        made = self.backups()
        if not made["invocations"]:
            return []
        return [
            f"{counted(made['ranks'], 'late rank')} got {counted(made['invocations'], 'backup')}, of which"
            f" {made['faster']} {'was' if made['faster'] == 1 else 'were'} faster;"
            f" all are billed, {made['billed_s']:.1f} s of the backups' time"
        ]

    def failures(self) -> str:
        """The ranks that failed, with their causes, to be added to a sentence; empty if none did."""
        failed = [f"; rank {rank}: {error}" for rank, error in sorted(self._errors.items()) if rank not in self.done]
        return "".join(failed[:5]) + (f"; stopped: {self.stop_reason}" if self.stop_reason else "")

"""The invocations of a run while it runs."""

import threading
from collections.abc import Iterable
from typing import Any

from tasks.invocations.invocation import Invocation


class Ledger:
    """The invocations of a run, entered as they end; shared by the threads of the fan-out.

    No dataclass, because Prefect walks through those that a task is given, while other threads enter invocations here.

    Attributes:
        invocations: in the order in which they ended.
        done: the ranks that have a result.
        stopped: why the fan-out was stopped before its end, as a clause; None if it was not.
    """

    def __init__(self) -> None:
        self.invocations: list[Invocation] = []
        self.done: set[int] = set()
        self.stopped: str | None = None
        self._last: dict[int, str] = {}  # the last error of each rank that had one
        self._never_run: dict[int, str] = {}
        self._lock = threading.Lock()

    def enter(self, invocation: Invocation) -> None:
        """Note one invocation; its rank is done when it has a result."""
        with self._lock:
            self.invocations.append(invocation)
            if invocation.result is not None:
                self.done.add(invocation.rank)
            elif invocation.error is not None:
                self._last[invocation.rank] = invocation.error

    def never_run(self, ranks: Iterable[int], why: str) -> None:
        """Note why ranks have no invocation; what is known of one already stands."""
        for rank in ranks:
            self._never_run.setdefault(rank, why)

    def last_error(self, rank: int) -> str | None:
        """Why the rank is not done, by its last try; None if it is done, or nobody knows of it."""
        if rank in self.done:
            return None
        return self._last.get(rank) or self._never_run.get(rank)

    def backups(self) -> dict[str, Any]:
        """Second copies of late ranks: of how many ranks, how many calls, seconds billed, and how many were faster."""
        made = [call for call in self.invocations if call.backup]
        late = {call.rank for call in made}
        ends: dict[int, Invocation] = {}
        for call in self.invocations:
            if call.rank in late and call.result is not None:
                ends.setdefault(call.rank, call)  # the first to end decided
        return {
            "ranks": len(late),
            "invocations": len(made),
            "faster": sum(call.backup for call in ends.values()),
            "billed_s": sum(call.billed_s for call in made),
        }

    def notes(self) -> list[str]:
        """What a person should know about the backups."""
        told = self.backups()
        if not told["invocations"]:
            return []
        return [
            f"{told['ranks']} late ranks got {told['invocations']} backups, of which {told['faster']} were faster;"
            f" all are billed, {told['billed_s']:.1f} s of the backups' time"
        ]

    def failures(self) -> str:
        """The ranks that failed, with their causes, to be added to a sentence; empty if none did."""
        ranks = sorted(self._last.keys() | self._never_run.keys())
        failed = {rank: error for rank in ranks if (error := self.last_error(rank)) is not None}
        return "".join(f"; rank {rank}: {error}" for rank, error in list(failed.items())[:5])

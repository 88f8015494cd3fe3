"""The workers of a Dask cluster as a run sees them: who may take a rank, and what they cost."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from inference.contract.validation import shorten

_SPARE = 1.25  # a rank is given so many times what the longest one took so far


@dataclass
class Worker:
    """One worker process of the cluster.

    Attributes:
        address: of the worker.
        threads: that it has; a rank uses all.
        memory_bytes: its limit, 0 without one.
        joined_at: `time.time()` when it was first seen.
        host: its machine; known once it has been looked at.
        ends_at: seconds since the epoch when its job ends, None if it has no end.
        ready: it was looked at and may take ranks.
        status: Dask's word for it; only a "running" worker starts anything.
        refused: why it may not take ranks, as a clause.
        busy_s: seconds that its ranks took.
    """

    address: str
    threads: int
    memory_bytes: int
    joined_at: float = field(default_factory=time.time)
    host: str = ""
    ends_at: float | None = None
    ready: bool = False
    status: str = "running"
    refused: str | None = None
    busy_s: float = 0.0


def reason_to_refuse(found: Mapping[str, Any], own: Mapping[str, str], sha256: str, where: str) -> str | None:
    """Why a worker cannot take ranks, as a sentence without its end; None if it can.

    Args:
        found: what `describe_worker` returned there.
        own: versions of this machine.
        sha256: of the object that the worker was to look at.
        where: that object lies, for the message.
    """
    theirs = found.get("versions") or {}
    unlike = [
        f"{name} {theirs.get(name)} instead of {version}"
        for name, version in own.items()
        if theirs.get(name) != version
    ]
    if unlike:
        return f"it has {' and '.join(unlike)}: give workers the environment of this machine"
    if found["error"]:
        return f"it cannot read {where}: {shorten(found['error'], 300)}"
    if found["sha256"] is None:
        return f"it does not see {where}: workers need the store under the same name, on a shared file system or S3"
    if found["sha256"] != sha256:
        return f"it sees other content at {where}: its store is not the one of this machine"
    return None


def why_it_failed(error: BaseException) -> str:
    """Why Dask gave a task up, a sentence without its end that begins with the worker.

    Args:
        error: of its future.
    """
    if type(error).__name__ == "KilledWorker":
        worker = getattr(getattr(error, "last_worker", None), "address", "")
        return f"its worker {worker} died: out of memory, or its job ended?"
    if "deserialization of the task graph" in str(error):  # the scheduler reads every task before a worker does
        return (
            "its scheduler cannot read what it is sent, since its cosmic-flows is missing or another version:"
            " give scheduler and workers the environment of this machine"
        )
    if isinstance(error, ModuleNotFoundError):
        return f"it lacks the module {error.name}: install cosmic-flows in the environment of the workers"
    if isinstance(error, ImportError | AttributeError):
        reason = shorten(str(error), 120)
        return f"its cosmic-flows is another version ({reason}): give workers the environment of this machine"
    return shorten(str(error) or repr(error), 300)


class Workers:
    """The table of a cluster's workers, with their use."""

    def __init__(self) -> None:
        self.known: dict[str, Worker] = {}
        self._gone_core_s = 0.0
        self._hosts: dict[str, list[float]] = {}  # when each was first and last seen
        self._most = 0
        self._used_core_s = 0.0
        self.longest_s = 0.0  # of the ranks that are done
        self.largest_bytes = 0.0  # resident memory of the rank that used most

    def update(self, seen: Mapping[str, Mapping[str, Any]]) -> tuple[list[Worker], list[Worker]]:
        """Take the scheduler's list of workers; those that are new, and those that are gone."""
        gone = [self.known.pop(address) for address in list(self.known) if address not in seen]
        for worker in gone:
            self._gone_core_s += (time.time() - worker.joined_at) * worker.threads
        fresh = []
        for address, facts in seen.items():
            if address not in self.known:
                self.known[address] = Worker(
                    address, int(facts.get("nthreads") or 1), int(facts.get("memory_limit") or 0)
                )
                fresh.append(self.known[address])
            self.known[address].status = str(facts.get("status", "running"))
        self._most = max(self._most, len(self.known))
        self._note_hosts()
        return fresh, gone

    def _note_hosts(self) -> None:
        for worker in self.known.values():
            if worker.host:
                self._hosts.setdefault(worker.host, [worker.joined_at, 0.0])[1] = time.time()

    def why_not(self, worker: Worker) -> str | None:
        """Why this worker may not take the next rank, as a clause; None if it may."""
        if worker.refused or not worker.ready:
            return worker.refused or "it has not answered yet"
        if worker.status != "running":
            return f"it is {worker.status}"
        if worker.memory_bytes and worker.memory_bytes < self.largest_bytes:
            needed, has = self.largest_bytes / 1e6, worker.memory_bytes / 1e6
            return f"its memory limit of {has:,.0f} MB is below the {needed:,.0f} MB that a rank has used"
        if worker.ends_at is not None and time.time() + _SPARE * self.longest_s > worker.ends_at:
            return f"its job ends before a rank of {self.longest_s:.0f} s would"
        return None

    def able(self) -> list[Worker]:
        """Those that may take a rank."""
        return [worker for worker in self.known.values() if self.why_not(worker) is None]

    def why_none(self) -> str | None:
        """Why no worker may take a rank, by one of them; None if one may, or has not answered yet and might."""
        if self.able() or not all(worker.ready for worker in list(self.known.values())):
            return None
        return next(self.refusals(), None)

    def refusals(self) -> Iterator[str]:
        """Why the others may not, each as a sentence."""
        for worker in self.known.values():
            if (why := self.why_not(worker)) is not None:
                yield f"worker {worker.address} takes no ranks: {why}"

    def note_rank(self, worker: Worker | None, threads: int, seconds: float, peak_mb: float | None) -> None:
        """Enter what a rank used; `peak_mb` (MB of 1,000,000 bytes) is None of one that failed."""
        self._used_core_s += seconds * threads
        if worker is not None:
            worker.busy_s += seconds
        if peak_mb is not None:
            self.longest_s = max(self.longest_s, seconds)
            self.largest_bytes = max(self.largest_bytes, peak_mb * 1e6)

    def usage(self, usd_per_core_hour: float | None) -> dict[str, Any]:
        """What the cluster allocated and the ranks used, as JSON.

        A core counts as allocated while the run sees its worker, from one look each second; `used` are the seconds of
        ranks times their worker's threads.
        """
        now = time.time()
        self._note_hosts()
        allocated = self._gone_core_s + sum((now - each.joined_at) * each.threads for each in self.known.values())
        usage: dict[str, Any] = {
            "workers": self._most,
            "nodes": len(self._hosts),
            "core_seconds_allocated": allocated,
            "node_seconds_allocated": sum(last - first for first, last in self._hosts.values()),
            "core_seconds_used": self._used_core_s,
            "idle_share": max(1 - self._used_core_s / allocated, 0.0) if allocated else None,
        }
        if usd_per_core_hour is not None:
            usage |= {"usd_per_core_hour": usd_per_core_hour, "usd": allocated / 3600 * usd_per_core_hour}
        return usage

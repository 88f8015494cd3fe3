"""Earlier runs under a bucket, as far as they tell what a next one will take."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from inference.contract.object_keys import RESERVED
from inference.contract.validation import is_number
from inference.errors import BadInput
from inference.rank_results.publish_summary import summary_key
from inference.storage.store import Store, StoredObject
from tasks.sweeps.run_metrics import checked_document

NEWEST = 60  # runs that are read at most
LISTED = 10_000  # objects of a bucket at most that a run lists before it starts: ten requests


class PastRank(NamedTuple):
    """A rank of an earlier run: seconds of its stages; `call_s` is from the call to its reply."""

    samples: int
    cold: bool
    started_at: float
    ended_at: float
    load: float
    read: float
    compute: float
    write: float
    total: float
    call_s: float
    peak_mb: float
    worker: str


@dataclass(frozen=True)
class PastRun:
    """An earlier run.

    Attributes:
        document: its summary.
        ranks: those that ran in it, not those that it found done.
    """

    document: Mapping[str, Any]
    ranks: tuple[PastRank, ...]

    @property
    def kind(self) -> dict[str, Any]:
        """What decides how fast it was: a model is fitted from runs that have the same."""
        request, model = self.document["request"], self.document.get("model") or {}
        return {
            "executor": self.document.get("executor"),
            "model": model.get("sha256") or (self.document.get("script") or {}).get("sha256"),
            "engine": self.document.get("engine"),
            "precision": self.document.get("precision"),
            "workers": self.document.get("workers"),
            "batch size": request.get("batch_size"),
            "memory": self.document.get("function_memory_mb"),
            "function": self.document.get("function"),
            "modified": self.document.get("function_modified"),
            "machine": (self.document.get("machine") or {}).get("cpu"),
        }

    @property
    def whole(self) -> bool:
        """Every rank ran in this run, and none is missing."""
        return not self.document.get("missing_ranks") and not self.document.get("ranks_resumed")

    @property
    def makespan_s(self) -> float:
        """First rank start to last rank end."""
        return float(self.document["makespan_s"])

    @property
    def end_to_end_s(self) -> float:
        """Of the whole flow."""
        return float(self.document["end_to_end_s"])

    @property
    def usd(self) -> float | None:
        """The bill."""
        usd = self.document["cost"].get("usd")
        return None if usd is None else float(usd)

    @property
    def began_at(self) -> float:
        """First rank start, seconds since the epoch."""
        return min(rank.started_at for rank in self.ranks)

    @property
    def at_once(self) -> int:
        """The most ranks that ran at the same time."""
        ends = sorted([(rank.started_at, 1) for rank in self.ranks] + [(rank.ended_at, -1) for rank in self.ranks])
        return max(itertools.accumulate(step for _, step in ends))

    @cached_property
    def turns_s(self) -> list[float]:
        """Seconds between two ranks of a worker, of all workers."""
        by_worker: dict[str, list[PastRank]] = {}
        for rank in self.ranks:
            by_worker.setdefault(rank.worker, []).append(rank)
        gaps: list[float] = []
        for ranks in by_worker.values():
            ranks.sort(key=lambda rank: rank.started_at)
            gaps += [max(later.started_at - sooner.ended_at, 0.0) for sooner, later in itertools.pairwise(ranks)]
        return gaps

    @property
    def spacing_s(self) -> float | None:
        """Seconds between two starts, where no worker had two ranks."""
        starts = sorted(rank.started_at for rank in self.ranks)
        return None if self.turns_s or len(starts) < 3 else (starts[-1] - starts[0]) / (len(starts) - 1)

    def a_rank(self, item: str) -> float | None:
        """How many of an item of the bill a rank came to; None where the bill has none."""
        rows = self.document["cost"].get("items")
        lines = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
        counts = [row.get("quantity") for row in lines if row.get("name") == item]
        whole = math.fsum(count for count in counts if is_number(count, 0))
        return whole / len(self.ranks) if whole else None


def past_runs(store: Store, bucket: str, *, under: str = "") -> tuple[list[PastRun], list[str]]:
    """The newest runs under a bucket, newest last, and notes on summaries that cannot be used.

    Raises:
        StoreError: the bucket cannot be listed or read.
    """
    return _read_newest(store, bucket, store.list(bucket, under))


def runs_elsewhere(
    store: Store, bucket: str, beside: str, since: float | None = None
) -> tuple[list[PastRun], list[str]]:
    """The newest runs of a bucket outside a folder, and notes; none of a bucket with more than `LISTED` objects.

    Args:
        store: the object store.
        bucket: is looked through.
        beside: the folder that is left out.
        since: seconds since the epoch, of the oldest summary that is read; default any.

    Raises:
        StoreError: the bucket cannot be listed or read.
    """
    listing = store.list_few(bucket, LISTED)
    if listing is None:
        return [], [f"{bucket} has more than {LISTED:,} objects: runs outside {beside or 'it'} were not looked for"]
    apart = [each for each in listing if not each.key.startswith(f"{beside}/")] if beside else []
    return _read_newest(store, bucket, [each for each in apart if since is None or each.modified_at >= since])


def _read_newest(store: Store, bucket: str, listing: Sequence[StoredObject]) -> tuple[list[PastRun], list[str]]:
    keys = [each for each in listing if each.key.endswith("/summary.json") and f"/{RESERVED}/" not in each.key]
    keys.sort(key=lambda stored: stored.modified_at)
    runs, notes = [], []
    for stored in keys[-NEWEST:]:
        try:
            key = summary_key(store, bucket, stored.key.removesuffix("/summary.json"))
            runs.append(read_run(store.read_json(bucket, key), f"{bucket}/{key}"))
        except BadInput as error:
            notes.append(f"not counted: {error}")
    return [run for run in runs if run is not None and run.ranks], notes


def read_run(document: object, where: str) -> PastRun | None:
    """A run from its summary; None of one that has no times.

    Raises:
        BadInput: it is damaged.
    """
    checked = checked_document(document, where)
    if not checked.get("makespan_s") or not checked.get("end_to_end_s"):
        return None
    rows: Sequence[Mapping[str, Any]] = [row for row in checked["ranks"] if not row.get("resumed")]
    return PastRun(checked, tuple(_rank(row) for row in rows if row["samples"]))


def _rank(row: Mapping[str, Any]) -> PastRank:
    billed = row.get("billed_s")
    known = isinstance(billed, int | float) and math.isfinite(billed) and row.get("attempt") == 1
    return PastRank(
        samples=int(row["samples"]),
        cold=bool(row["cold"]),
        started_at=float(row["started_at"]),
        ended_at=float(row["ended_at"]),
        load=float(row["wall_load_s"]),
        read=float(row["wall_read_s"]),
        compute=float(row["wall_compute_s"]),
        write=float(row["wall_write_s"]),
        total=float(row["wall_total_s"]),
        call_s=max(float(billed), float(row["wall_total_s"]))
        if known and billed is not None
        else float(row["wall_total_s"]),
        peak_mb=float(row["peak_rss_mb"]),
        worker=str(row.get("worker", "")),
    )

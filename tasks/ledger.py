"""Every invocation of a run: what the bill is made from, kept in the store as `invocations.json`."""

import dataclasses
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from inference.errors import BadInput
from inference.events import RankResult
from inference.fields import checked_int
from inference.start import EXECUTIONS, INVOCATIONS
from inference.store import Store
from tasks.clocks import TOLERANCE_S
from tasks.executors.base import Invocation

STILL_RUNNING = "still running when the run ended: at least, an estimate"
_RECORD = "from the rank's own record, an estimate"


class _Row(BaseModel):
    """An invocation as it is kept: without its result, which lies beside, but with what it was made under."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)

    fingerprint: str
    invocation: Invocation


_ROWS = TypeAdapter(list[_Row])
_EXECUTIONS = TypeAdapter(list[dict[str, Any]])


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


def _key(result_path: str) -> str:
    return f"{result_path}/{INVOCATIONS}"


def keep_invocations(
    store: Store, bucket: str, result_path: str, made: Iterable[Invocation], fingerprints: Mapping[int, str]
) -> list[Invocation]:
    """Add a run's invocations to those kept from earlier runs of the same ranks, and return them all.

    Adding the same ones again, as a retried task does, changes nothing. What a record tells takes the place of the
    call that was still running when its run ended: it is the same one.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        made: this run's invocations.
        fingerprints: of the plan, by rank; invocations kept under another fingerprint belong to results that are gone.

    Raises:
        StoreError: the store cannot be written.
    """
    new = [
        _Row(
            fingerprint=fingerprints[invocation.rank],
            invocation=dataclasses.replace(invocation, result=None),
        )
        for invocation in made
    ]
    known = set(new)
    rows = [
        row
        for row in _read(store, bucket, result_path)
        if row.fingerprint == fingerprints.get(row.invocation.rank) and row not in known
    ]
    for record in (row.invocation for row in new if row.invocation.billed_how == _RECORD):
        if (same := _unanswered(record, rows)) is not None:
            rows.remove(same)
    rows += new
    store.write(bucket, _key(result_path), _ROWS.dump_json(rows, exclude={"__all__": {"invocation": {"result"}}}))
    return [row.invocation for row in rows]


def _unanswered(record: Invocation, rows: Iterable[_Row]) -> _Row | None:
    """The call that a rank's record is of, among those that were still running when their run ended."""
    calls = {
        abs(record.started_at - call.started_at): row
        for row in rows
        if (call := row.invocation).billed_how == STILL_RUNNING
        and (call.rank, call.attempt) == (record.rank, record.attempt)
        and call.started_at - TOLERANCE_S <= record.started_at <= call.ended_at + TOLERANCE_S
    }
    return calls[min(calls)] if calls else None


def load_invocations(store: Store, bucket: str, result_path: str) -> list[Invocation]:
    """The invocations kept under a result path.

    Raises:
        BadInput: there are none: no run ended there.
    """
    rows = _read(store, bucket, result_path)
    if not rows:
        raise BadInput(
            f"there is no finished run under {bucket}/{result_path} in {store.root}: it has no {INVOCATIONS}"
        )
    return [row.invocation for row in rows]


def _read(store: Store, bucket: str, result_path: str) -> list[_Row]:
    key = _key(result_path)
    if store.head(bucket, key) is None:
        return []
    try:
        return _ROWS.validate_json(store.read(bucket, key))
    except ValidationError:
        raise BadInput(f"{bucket}/{key} is damaged: remove it, and the ranks' own records count instead") from None


def keep_execution(store: Store, bucket: str, result_path: str, execution: Mapping[str, Any]) -> None:
    """Add an execution of a state machine to those of earlier runs under the result path.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        execution: what is known of it, as JSON; `state_transitions` is billed.

    Raises:
        StoreError: the store cannot be written.
    """
    kept = [*load_executions(store, bucket, result_path), dict(execution)]
    store.write(bucket, f"{result_path}/{EXECUTIONS}", json.dumps(kept, indent=1).encode())


def load_executions(store: Store, bucket: str, result_path: str) -> list[dict[str, Any]]:
    """The executions of a state machine that ran under the result path; none if no machine did.

    Raises:
        BadInput: the file is damaged.
    """
    key = f"{result_path}/{EXECUTIONS}"
    if store.head(bucket, key) is None:
        return []
    try:
        return _EXECUTIONS.validate_json(store.read(bucket, key))
    except ValidationError:
        raise BadInput(f"{bucket}/{key} is damaged: remove it, and the bill is without state transitions") from None


def transitions_of(executions: Iterable[Mapping[str, Any]]) -> int:
    """State transitions billed for all executions together."""
    return sum(checked_int(each.get("state_transitions", 0), "state_transitions", 0, 10**9) for each in executions)


def of_records(results: Sequence[RankResult], known: Iterable[Invocation], memory_mb: int) -> list[Invocation]:
    """An invocation for every done rank that none is known of, because a run ended before it could keep its own."""
    billed = {invocation.rank for invocation in known if invocation.error is None}
    return [
        Invocation(
            rank=result.rank,
            attempt=result.attempt,
            started_at=result.started_at,
            ended_at=result.ended_at,
            duration_s=result.wall_total_s,
            init_s=0.0,
            billed_s=result.wall_total_s,
            billed_how=_RECORD,
            memory_mb=result.memory_limit_mb or memory_mb,
            max_memory_mb=result.peak_rss_mb * 1e6 / 2**20,
            cold=result.cold,
            request_id=result.request_id,
            worker=result.worker,
        )
        for result in results
        if result.rank not in billed
    ]

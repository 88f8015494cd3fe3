"""Every invocation of a run: what the bill is made from, kept in the store as `invocations.json`."""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from inference.contract.rank_result import RankResult
from inference.contract.validation import checked_int
from inference.errors import BadInput
from inference.rank_results.publish_summary import EXECUTIONS, INVOCATIONS, KILLED
from inference.storage.store import Store
from tasks.invocations.clock_skew import TOLERANCE_S
from tasks.invocations.invocation import STILL_RUNNING, Invocation

_RECORD = "from the rank's own record, an estimate"


class _Row(BaseModel):
    """An invocation as it is kept: without its result, which lies beside, but with what it was made under."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)

    fingerprint: str
    invocation: Invocation


_ROWS = TypeAdapter(list[_Row])
_EXECUTIONS = TypeAdapter(list[dict[str, Any]])
_TIMES = TypeAdapter(list[Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]])


def _key(result_path: str) -> str:
    return f"{result_path}/{INVOCATIONS}"


def keep_invocations(
    store: Store,
    bucket: str,
    result_path: str,
    made: Iterable[Invocation],
    fingerprints: Mapping[int, str],
    *,
    folder: str,
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
        folder: in which this run writes its summaries (`inference.rank_results.publish_summary`).

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
        for row in _read(store, bucket, folder) or _read(store, bucket, result_path)
        if row.fingerprint == fingerprints.get(row.invocation.rank) and row not in known
    ]
    for record in (row.invocation for row in new if row.invocation.billed_how == _RECORD):
        if (same := _unanswered(record, rows)) is not None:
            rows.remove(same)
    rows += new
    store.write(bucket, _key(folder), _ROWS.dump_json(rows, exclude={"__all__": {"invocation": {"result"}}}))
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
    try:
        document = store.read_json(bucket, key)
        # From Python objects, strict validation would ask for our own classes.
        return [] if document is None else _ROWS.validate_json(json.dumps(document))
    except (BadInput, ValidationError) as error:
        why = error if isinstance(error, BadInput) else f"{bucket}/{key} is damaged"
        raise BadInput(f"{why}: remove it, and the ranks' own records count instead") from None


def keep_executions(
    store: Store, bucket: str, result_path: str, executions: Sequence[Mapping[str, Any]], *, folder: str
) -> None:
    """Add executions of a state machine to those of earlier runs under the result path; each counts once.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        executions: what is known of each, as JSON; `state_transitions` is billed.
        folder: in which this run writes its summaries (`inference.rank_results.publish_summary`).

    Raises:
        StoreError: the store cannot be written.
    """
    kept = [*load_executions(store, bucket, result_path), *map(dict, executions)]
    by_arn = {str(each.get("arn", number)): each for number, each in enumerate(kept)}
    store.write(bucket, f"{folder}/{EXECUTIONS}", json.dumps(list(by_arn.values()), indent=1).encode())


def load_executions(store: Store, bucket: str, result_path: str) -> list[dict[str, Any]]:
    """The executions of a state machine that ran under the result path; none if no machine did.

    Raises:
        BadInput: the file is damaged.
    """
    key = f"{result_path}/{EXECUTIONS}"
    try:
        document = store.read_json(bucket, key)
        return [] if document is None else _EXECUTIONS.validate_python(document)
    except (BadInput, ValidationError) as error:
        why = error if isinstance(error, BadInput) else f"{bucket}/{key} is damaged"
        raise BadInput(f"{why}: remove it, and the bill is without state transitions") from None


def keep_killed(store: Store, bucket: str, result_path: str, last: Iterable[float], *, folder: str) -> None:
    """Add when runs that were killed wrote their journals last to what is kept of earlier ones.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        last: seconds since the epoch, of each (`tasks.invocations.journal.calls_of_killed_runs`).
        folder: in which this run writes its summaries (`inference.rank_results.publish_summary`).

    Raises:
        StoreError: the store cannot be written.
    """
    if times := sorted({*load_killed(store, bucket, result_path), *last}):
        store.write(bucket, f"{folder}/{KILLED}", json.dumps(times).encode())


def load_killed(store: Store, bucket: str, result_path: str) -> list[float]:
    """When runs under the result path that were killed wrote their journals last, seconds since the epoch.

    Raises:
        BadInput: the file is damaged.
    """
    key = f"{result_path}/{KILLED}"
    try:
        document = store.read_json(bucket, key)
        return [] if document is None else _TIMES.validate_python(document, strict=False)
    except (BadInput, ValidationError) as error:
        why = error if isinstance(error, BadInput) else f"{bucket}/{key} is damaged"
        raise BadInput(f"{why}: remove it, and the bill does not say which runs were killed") from None


def beyond_note(killed: Sequence[float]) -> str:
    """What a bill may lack where runs were killed, as a sentence; "" where none was.

    >>> beyond_note([0.0])
    'A run was killed after 1970-01-01 00:00:00 UTC: calls that failed in its last 5 s may be missing.'
    """
    if not killed:
        return ""
    times = " and ".join(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) for at in killed[:3])
    more = f" and {len(killed) - 3} more" if len(killed) > 3 else ""
    runs = "A run was" if len(killed) == 1 else f"{len(killed)} runs were"
    whose = "its" if len(killed) == 1 else "their"
    return f"{runs} killed after {times} UTC{more}: calls that failed in {whose} last 5 s may be missing."


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

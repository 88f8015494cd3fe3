"""The calls of a run are journalled in the store while it runs, so that the run after a killed one bills them.

Before the first call is sent, one object says which ranks may be called from then on. Every few seconds another one
holds the calls that ended since the last, and those that are open. A run that publishes its summary removes them all:
from then on its `invocations.json` says the same.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event, Thread
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from inference.contract.rank_event import RankEvent
from inference.errors import BadInput, StoreError
from inference.rank_results.publish_summary import journal_prefix
from inference.storage.store import Store
from tasks.invocations.invocation import Invocation
from tasks.invocations.ledger import Ledger

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SLOWER = 1.0, 5.0, 1.1
_SAME_CALL_S = 1.0  # two looks at when one call was sent differ by less; two calls of one rank by more
_log = logging.getLogger(__name__)


class _Page(BaseModel):
    """One object of the journal; the last one of a run that was not killed is closed."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)

    at: float
    closed: bool = False
    fingerprints: dict[int, str]
    ended: list[Invocation]
    open: list[Invocation]


class Journal:
    """Writes a run's calls down while ranks run; entered before the first is sent, and left when all have ended.

    Args:
        store: the object store.
        bucket: of the run.
        folder: in which this run writes its summaries; its name is the run's generation.
        events: of the ranks that are to run.

    Raises:
        StoreError: on entering, the store cannot be written. Later on, what could not be written is tried again.
    """

    def __init__(self, store: Store, bucket: str, folder: str, events: Sequence[RankEvent]) -> None:
        self._store, self._bucket = store, bucket
        result_path, _, self._generation = folder.rpartition("/.cosmic/")
        self._prefix = journal_prefix(result_path)
        self._fingerprints = {event.rank: event.fingerprint for event in events}
        self._pages = self._kept = 0
        self._was_open = False
        self._left = Event()
        self._thread = Thread(target=self._go_on, name="cosmic-journal", daemon=True)

    def of(self, ledger: Ledger, open_calls: Callable[[], list[Invocation]]) -> Self:
        """The same journal, with where it reads the calls that ended, and those that are open."""
        self._ledger, self._open_calls = ledger, open_calls
        return self

    def __enter__(self) -> Self:
        self._write([], [])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        self._turn(closed=True)

    def _go_on(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._left.wait(pause):
            self._turn()
            pause = min(pause * _SLOWER, _LONGEST_PAUSE_S)

    def _turn(self, *, closed: bool = False) -> None:
        ended, calls = self._ledger.invocations[self._kept :], self._open_calls()
        if not (ended or calls or self._was_open or closed):
            return
        try:
            self._write(ended, calls, closed=closed)
        except StoreError as error:
            _log.debug("the calls of this run are journalled later: %s", error)
            return
        self._kept += len(ended)
        self._was_open = bool(calls)

    def _write(self, ended: Sequence[Invocation], calls: Sequence[Invocation], *, closed: bool = False) -> None:
        bare = [dataclasses.replace(call, result=None) for call in ended]
        named = self._fingerprints.keys() if not self._pages else {call.rank for call in (*ended, *calls)}
        page = _Page(
            at=time.time(),
            closed=closed,
            fingerprints={rank: self._fingerprints[rank] for rank in named},
            ended=bare,
            open=list(calls),
        )
        key = f"{self._prefix}/{self._generation}-{self._pages:06d}.json"
        self._store.write(self._bucket, key, page.model_dump_json().encode())
        self._pages += 1


def calls_of_killed_runs(
    store: Store, bucket: str, folder: str, fingerprints: Mapping[int, str], known: Iterable[Invocation]
) -> tuple[list[Invocation], list[float]]:
    """The calls of runs that ended before they could keep them.

    Args:
        store: the object store.
        bucket: of the run.
        folder: in which this run writes its summaries; its own journal does not count.
        fingerprints: of the plan, by rank; calls made under another fingerprint belong to results that are gone.
        known: calls that are on the bill already.

    Returns:
        Those that ended, as they ended; those that were open when the journal was written last, until then. And when
        each run of this plan that was killed wrote its journal last, seconds since the epoch: what failed afterwards
        (at most 5 s) nobody has a note of.

    Raises:
        BadInput: an object of the journal is damaged; names it.
        StoreError: the store cannot be read.
    """
    result_path, _, generation = folder.rpartition("/.cosmic/")
    by_run: dict[str, list[_Page]] = {}
    for key in _keys(store, bucket, result_path):
        run = key.rpartition("/")[2].partition("-")[0]
        if run != generation and (page := _read(store, bucket, key)) is not None:
            by_run.setdefault(run, []).append(page)
    there: dict[tuple[int, int, bool], list[float]] = {}
    for call in known:
        there.setdefault((call.rank, call.attempt, call.backup), []).append(call.started_at)
    found: list[Invocation] = []
    killed: list[float] = []
    for pages in by_run.values():
        of_plan = {rank for rank, print_ in pages[0].fingerprints.items() if fingerprints.get(rank) == print_}
        if of_plan and not pages[-1].closed:
            killed.append(pages[-1].at)
        for call in (*(call for page in pages for call in page.ended), *pages[-1].open):
            starts = there.setdefault((call.rank, call.attempt, call.backup), [])
            if call.rank in of_plan and all(abs(call.started_at - start) > _SAME_CALL_S for start in starts):
                found.append(call)
                starts.append(call.started_at)
    return found, killed


def forget_calls(store: Store, bucket: str, folder: str) -> None:
    """Remove the journals of this run and of earlier ones: their calls are in the summary that counts.

    Raises:
        StoreError: the store cannot be listed or written.
    """
    result_path, _, generation = folder.rpartition("/.cosmic/")
    keys = _keys(store, bucket, result_path)
    store.delete(bucket, [key for key in keys if key.rpartition("/")[2].partition("-")[0] <= generation])


def _keys(store: Store, bucket: str, result_path: str) -> list[str]:
    return sorted(stored.key for stored in store.list(bucket, journal_prefix(result_path)))


def _read(store: Store, bucket: str, key: str) -> _Page | None:
    try:
        document = store.read_json(bucket, key)  # None where another run has removed it by now
        return None if document is None else _Page.model_validate_json(json.dumps(document))
    except (BadInput, ValidationError) as error:
        why = error if isinstance(error, BadInput) else f"{bucket}/{key} is damaged"
        raise BadInput(f"{why}: remove it, and what it says is missing on the bill") from None

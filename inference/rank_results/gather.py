"""Gathering rank results: what was planned against what lies in the store."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from inference.contract.json_text import parse_json
from inference.contract.object_keys import natural_order
from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.script import SCRIPT_ENGINE
from inference.errors import BadInput
from inference.storage.prefetch import prefetch
from inference.storage.store import Store
from inference.storage.temporary import temporary_folder

# What `inference.handler` calls a rank's redshifts, and nothing that a run below this folder could write.
_PREDICTIONS = re.compile(r"([0-9]{1,7})\.[0-9]{1,7}-[0-9a-f]{8}\.safetensors")


@dataclass(frozen=True)
class Gathered:
    """Rank results found under a result path.

    Attributes:
        results: of the ranks that are done, in rank order.
        missing: ranks planned and not done.
        stale: keys of results that do not count: of another fingerprint, beyond the world size, unreadable, or with
            their redshifts gone.
    """

    results: tuple[RankResult, ...]
    missing: tuple[int, ...]
    stale: tuple[str, ...]


def result_key(result_path: str, rank: int) -> str:
    """Where a rank's result lies (contract, "Rank result")."""
    return f"{result_path}/{rank}.json"


def read_result(store: Store, event: RankEvent) -> RankResult | None:
    """The result of the event's rank, if it is done under the event's fingerprint."""
    key = result_key(event.result_path, event.rank)
    if store.head(event.result_bucket, key) is None:
        return None
    try:
        result = parse_result(store.read(event.result_bucket, key))
    except BadInput:
        return None
    return result if event.fingerprint and _is_of(result, event) else None


def parse_result(data: bytes) -> RankResult:
    """Read one `<rank>.json`.

    Raises:
        BadInput: it is no JSON or no rank result.
    """
    return RankResult.from_wire(parse_json(data, "the rank result"))


def _is_of(result: RankResult, event: RankEvent) -> bool:
    return (
        result.rank == event.rank
        and result.fingerprint == event.fingerprint
        and tuple(result.data_paths) == event.data_paths
        and bool(event.script) == (result.engine == SCRIPT_ENGINE)
    )


def gather(store: Store, events: Sequence[RankEvent]) -> Gathered:
    """Compare the results under the plan's result path with the plan.

    Raises:
        StoreError: the store cannot be listed or read.
    """
    bucket, result_path = events[0].result_bucket, events[0].result_path
    planned = {event.rank: event for event in events}
    there = store.keys(bucket, result_path)
    keys = _in_rank_order(there, result_path)

    def read(item: tuple[int, str]) -> RankResult | str:
        rank, key = item
        try:
            result = parse_result(store.read(bucket, key))
        except BadInput:
            return key
        event = planned.get(rank)
        if event is None or not _is_of(result, event) or not (event.script or result.predictions_path in there):
            return key
        # What the plan says as well is kept once.
        paths = event.data_paths[0] if isinstance(result.data_path, str) else [*event.data_paths]
        return replace(result, fingerprint=event.fingerprint, data_path=paths)

    results: list[RankResult] = []
    stale: list[str] = []
    for found in prefetch(read, keys):
        if isinstance(found, RankResult):
            results.append(found)
        else:
            stale.append(found)
    done = {result.rank for result in results}
    return Gathered(tuple(results), tuple(sorted(planned.keys() - done)), tuple(stale))


def result_keys(store: Store, bucket: str, result_path: str) -> list[str]:
    """Keys of all rank results under a result path, of whatever plan, in rank order; none is read.

    Raises:
        StoreError: the store cannot be listed.
    """
    return [key for _, key in _in_rank_order(store.keys(bucket, result_path), result_path)]


def _in_rank_order(there: Iterable[str], result_path: str) -> list[tuple[int, str]]:
    return sorted((rank, key) for key in there if (rank := _rank_of(key, result_path)) is not None)


def write_combined(store: Store, bucket: str, folder: str, found: Gathered) -> str:
    """Write the list of all rank results, as `<folder>/combined_data.json` (contract, "Rank result"); return its key.

    An incomplete list is called `combined_data.partial.json`, so that nobody takes it for the whole.

    Raises:
        StoreError: the store refuses.
    """
    key = f"{folder}/combined_data{'.partial' if found.missing else ''}.json"
    with temporary_folder("combine") as scratch:
        path = scratch / "combined_data.json"
        with path.open("w") as file:  # record by record: ten thousand at once would take ten times their size
            file.write("[")
            for number, result in enumerate(found.results):
                file.write((", " if number else "") + json.dumps(result.to_wire()))
            file.write("]")
        store.write(bucket, key, path)
    return key


def read_combined(store: Store, bucket: str, folder: str) -> list[RankResult]:
    """The rank results of a run that was summarized, whole or not, from the folder of its summaries.

    Raises:
        BadInput: the file is damaged.
        StoreError: the store refuses.
    """
    for part in ("", ".partial"):
        key = f"{folder}/combined_data{part}.json"
        records = store.read_json(bucket, key)
        if records is not None:
            try:
                return [RankResult.from_wire(record) for record in records]
            except BadInput as error:
                raise BadInput(f"{bucket}/{key} is damaged: {error}") from None
    return []


def _rank_of(key: str, result_path: str) -> int | None:
    name = key.removeprefix(result_path + "/").removesuffix(".json")
    if not key.endswith(".json") or not (name.isascii() and name.isdecimal()):
        return None
    return int(name) if str(int(name)) == name else None


def clear(store: Store, bucket: str, result_path: str, stale: Iterable[str]) -> None:
    """Remove stale rank results with their predictions.

    Only names that a rank of this very run writes are removed: a run under a folder below keeps all that it wrote.
    """
    stale = set(stale)
    if not stale:
        return
    ranks = {key.removeprefix(f"{result_path}/").removesuffix(".json") for key in stale}
    doomed = [
        key
        for key in store.keys(bucket, f"{result_path}/predictions")
        if (found := _PREDICTIONS.fullmatch(key.removeprefix(f"{result_path}/predictions/"))) and found[1] in ranks
    ]
    store.delete(bucket, [*sorted(stale, key=natural_order), *doomed])

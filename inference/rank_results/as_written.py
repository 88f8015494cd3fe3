"""Results of a run that this project did not plan: collected as they lie there, with no plan to check them against."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.contract.rank_event import RankEvent
from inference.errors import BadInput
from inference.rank_results.gather import result_key
from inference.storage.prefetch import prefetch
from inference.storage.store import Store


@dataclass(frozen=True)
class AsWritten:
    """Records in the order of their ranks, and the ranks that left none that can be read."""

    records: tuple[dict[str, Any], ...]
    missing: tuple[int, ...]


def collect(store: Store, events: Sequence[RankEvent]) -> AsWritten:
    """The record of each rank; a `<rank>.json` that holds a list counts record by record.

    Scripts of the replaced system write to the result bucket or to the data bucket.

    Raises:
        StoreError: the store refuses.
    """

    def read(event: RankEvent) -> tuple[int, list[dict[str, Any]]]:
        key = result_key(event.result_path, event.rank)
        for bucket in dict.fromkeys((event.result_bucket, event.data_bucket)):
            try:
                document = store.read_json(bucket, key)
            except BadInput:  # half a file: the rank died over it
                continue
            listed = document if isinstance(document, list) else [document]
            if listed and all(isinstance(record, dict) for record in listed):
                return event.rank, listed
        return event.rank, []

    found = dict(prefetch(read, sorted(events, key=lambda event: event.rank)))
    return AsWritten(
        tuple(record for records in found.values() for record in records),
        tuple(rank for rank, records in found.items() if not records),
    )


def write_as_combined(store: Store, bucket: str, folder: str, found: AsWritten) -> str:
    """Write `combined_data.json`, or `combined_data.partial.json` where ranks are missing; return its key.

    Raises:
        StoreError: the store refuses.
    """
    key = f"{folder}/combined_data{'.partial' if found.missing else ''}.json"
    store.write(bucket, key, json.dumps(found.records).encode())
    return key

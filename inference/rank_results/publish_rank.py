"""Putting a rank's result where it belongs: the first complete one of the plan that counts wins."""

import json

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.errors import BadInput, RankFailed, StoreError
from inference.rank_results.gather import read_result, result_key
from inference.storage.store import Store

_TRIES = 4


def publish_rank_result(store: Store, rank: RankEvent, result: RankResult) -> RankResult:
    """Write a rank's result unless one of the same plan is there.

    What lies there and does not count is replaced: half of a result, one whose redshifts are gone, or one of an older
    plan, whose worker outlived its run. Which plan counts is what payload.json says, so such a worker replaces nothing.

    Returns:
        The result that counts now, this one or the first.

    Raises:
        RankFailed: the plan is another one by now.
        StoreError: the store refuses.
    """
    key = result_key(rank.result_path, rank.rank)
    data = json.dumps(result.to_wire()).encode()
    if not rank.fingerprint:  # an event of the replaced system: its functions overwrote, too
        store.write(rank.result_bucket, key, data)
        return result
    for _ in range(_TRIES):
        if store.create(rank.result_bucket, key, data):
            return result
        first = read_result(store, rank)
        if first is not None and store.head(rank.result_bucket, first.predictions_path) is not None:
            store.delete(rank.result_bucket, [result.predictions_path])
            return first
        if not _is_planned(store, rank):
            break
        store.delete(rank.result_bucket, [key])
    store.delete(rank.result_bucket, [result.predictions_path])
    raise RankFailed(
        f"rank {rank.rank}: {key} holds the result of another run, or none at all;"
        " run with --fresh, or give this run a result_path of its own"
    )


def _is_planned(store: Store, rank: RankEvent) -> bool:
    """Whether the plan under the result path is the one that this rank was sent by."""
    key = f"{rank.result_path}/payload.json"
    try:
        planned = store.read_json(rank.result_bucket, key)
    except (StoreError, BadInput):
        return False
    fingerprints = planned.get("fingerprints") if isinstance(planned, dict) else None
    return isinstance(fingerprints, dict) and fingerprints.get(str(rank.rank)) == rank.fingerprint

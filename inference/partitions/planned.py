"""The partitions of a rank, looked up as the plan has them."""

from inference.contract.rank_event import RankEvent
from inference.errors import BadPartition
from inference.storage.store import Store, StoredObject


def find_planned(store: Store, event: RankEvent, path: str, etag: str) -> StoredObject:
    """A partition as it lies in the store, given the two seconds that a store may show an older state.

    Args:
        store: the object store.
        event: of the rank.
        path: key of the partition.
        etag: that the plan saw; "" takes the partition as it is.

    Raises:
        BadPartition: it is gone, or has changed since the run was planned; the message names it.
    """
    stored = store.expected(event.data_bucket, path, etag)
    if stored is None:
        raise BadPartition(f"the partition {path} is gone from {event.data_bucket}")
    if etag and stored.etag != etag:
        raise BadPartition(f"the partition {path} has changed since the run was planned")
    return stored

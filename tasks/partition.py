"""partition_dataset: one survey file into numbered partitions, `1.pt`, `2.pt`, ..."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from inference.dataset import Partition, open_partition, partition_bytes, samples_of_size, split
from inference.errors import BadInput, BadPartition
from inference.events import checked_int
from inference.plan import SUFFIXES
from inference.request import PartitionRequest, RunRequest
from inference.store import Store, StoredObject
from tasks.policy import STEP_RETRIES, worth_retrying


@dataclass(frozen=True)
class Target:
    """Where partitions go: the folder `prefix` of a bucket ("" for the bucket itself)."""

    store: Store
    bucket: str
    prefix: str

    def key(self, name: str) -> str:
        """Key of an object in the folder."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def partitions(self) -> list[StoredObject]:
        """The partitions that lie there already."""
        return [stored for stored in self.store.list(self.bucket, self.prefix) if stored.key.endswith(SUFFIXES)]


def open_survey(source: Path) -> Partition:
    """Map a survey file.

    Raises:
        BadInput: there is no such file, or it is no survey.
    """
    if not source.is_file():
        raise BadInput(f"there is no survey file {source}")
    try:
        return open_partition(source, str(source))
    except BadPartition as error:
        raise BadInput(str(error)) from None


def samples_each(size: str | int) -> int:
    """Samples in a partition, from "25MB" or a number of samples.

    Raises:
        BadInput: neither.
    """
    if isinstance(size, str) and not size.strip().isdecimal():
        return samples_of_size(size)
    return checked_int(size, "size", 1, 10**9)


def write_partitions(
    survey: Partition,
    each: int,
    target: Target,
    suffix: str = ".pt",
    progress: Callable[[int], None] = lambda samples: None,
) -> list[StoredObject]:
    """Cut the survey into partitions of `each` samples, the last one smaller, and put them into the target.

    Only one partition is in memory at a time. `progress` is told the samples of each partition written.

    Returns:
        The partitions as the store knows them.

    Raises:
        StoreError: the target cannot be written.
    """
    written = []
    for number, part in split(survey, each):
        data = partition_bytes(part.images, part.magnitudes, part.redshifts, suffix)
        key = target.key(f"{number}{suffix}")
        target.store.write(target.bucket, key, data)
        stored = target.store.head(target.bucket, key)
        written.append(stored or StoredObject(key, len(data), ""))
        progress(len(part.images))
    return written


def _manifest_key(prefix: str) -> str:
    return f"partitions/{prefix}.json"  # beside the prefix: a listing of it must show partitions only


def _facts(wanted: PartitionRequest, survey: Path) -> dict[str, Any]:
    status = survey.stat()
    return {
        "source": str(survey.resolve()),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "samples": samples_each(wanted.size),
    }


def made_before(request: RunRequest, store: Store) -> list[StoredObject] | None:
    """The request's partitions if they were made before, from the same source at the same size; None if none are there.

    Raises:
        BadInput: the source cannot be read, or other partitions lie under the prefix.
    """
    if request.partition is None:
        return None
    source = Path(request.partition.source).expanduser()
    open_survey(source)
    facts = _facts(request.partition, source)
    there = Target(store, request.data_bucket, request.data_prefix).partitions()
    if not there:
        return None
    key = _manifest_key(request.data_prefix)
    if store.head(request.data_bucket, key) is not None:
        manifest = json.loads(store.read(request.data_bucket, key))
        if manifest == facts | {"files": [[stored.key, stored.etag] for stored in there]}:
            return there
    raise BadInput(
        f"{request.data_bucket}/{request.data_prefix}/ holds partitions that were not made from {source} at this size:"
        " choose another data_prefix, or leave out partition to use them"
    )


@task(
    name="partition data set",
    tags=["cosmic", "partition"],
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
)
def partition_dataset(request: RunRequest, wanted: PartitionRequest, store_root: str) -> None:
    """Make the partitions that the request wants, unless they are there; publishes how they came out.

    Raises:
        BadInput: see `made_before`.
        StoreError: the bucket cannot be written.
    """
    store = Store(store_root)
    written = made_before(request, store)
    if written is None:
        source = Path(wanted.source).expanduser()
        target = Target(store, request.data_bucket, request.data_prefix)
        written = write_partitions(open_survey(source), samples_each(wanted.size), target)
        manifest = _facts(wanted, source) | {"files": [[s.key, s.etag] for s in written]}
        key = _manifest_key(request.data_prefix)
        store.write(request.data_bucket, key, json.dumps(manifest).encode())
    create_table_artifact(
        [{"partition": stored.key, "MB": round(stored.size / 1e6, 2)} for stored in written],
        key="cosmic-partitions",
        description=f"{len(written)} partitions in {request.data_bucket}/{request.data_prefix}/",
    )

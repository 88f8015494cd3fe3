"""One survey file into numbered partitions, `1.pt`, `2.pt`, ..."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.contract.counted import counted
from inference.contract.run_request import PartitionRequest, RunRequest
from inference.contract.sample import samples_of_size
from inference.contract.validation import checked_int
from inference.errors import BadInput
from inference.partitions.partition import partition_bytes
from inference.runs.plan import INCOMPLETE, MAKING, SUFFIXES
from inference.storage.atomic_write import atomic_write
from inference.storage.lease import HeldLease, Lease, LeaseHeldError
from inference.storage.store import Store, StoredObject

if TYPE_CHECKING:
    from tasks.survey.galaxies import Galaxies


@dataclass(frozen=True)
class Target:
    """Where partitions go: the folder `prefix` of a bucket ("" for the bucket itself)."""

    store: Store
    bucket: str
    prefix: str

    @property
    def place(self) -> str:
        """The folder, for messages."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """Key of an object in the folder."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def beside(self, suffix: str) -> Path | str:
        """What is about the folder and no partition lies beside it, under its name and a suffix: a key, or a file."""
        return f"{self.prefix}{suffix}" if self.prefix else Path(self.store.root) / f"{self.bucket}{suffix}"

    def write_beside(self, suffix: str, data: bytes) -> None:
        """Write it, replacing what was there."""
        place = self.beside(suffix)
        if isinstance(place, str):
            self.store.write(self.bucket, place, data)
            return
        with atomic_write(place) as partial:
            partial.write_bytes(data)

    def remove_beside(self, suffix: str) -> None:
        """Remove it, if it is there."""
        place = self.beside(suffix)
        if isinstance(place, str):
            self.store.delete(self.bucket, [place])
        else:
            place.unlink(missing_ok=True)

    def lease(self, holder: str) -> Lease:
        """The lease on the folder, for whoever makes partitions in it."""
        bucket, key = self._making()
        return Lease(self.store, bucket, key, holder, f"the making of partitions in {self.place}")

    def is_incomplete(self) -> bool:
        """Whether partitions are being made there, or their making was interrupted."""
        bucket, key = self._making()
        return self.store.head(bucket, f"{key}/{INCOMPLETE}") is not None

    def mark_incomplete(self) -> None:
        """Note that partitions are being made there."""
        bucket, key = self._making()
        self.store.write(bucket, f"{key}/{INCOMPLETE}", b"")

    def mark_complete(self) -> None:
        """Note that all partitions are made."""
        bucket, key = self._making()
        self.store.delete(bucket, [f"{key}/{INCOMPLETE}"])

    def _making(self) -> tuple[str, str]:
        """Bucket and key of the folder beside this one in which its making is noted; here must lie partitions only."""
        return (self.bucket, f"{self.prefix}{MAKING}") if self.prefix else (".", f"{self.bucket}{MAKING}")

    def partitions(self) -> list[StoredObject]:
        """The partitions that lie there already."""
        return [stored for stored in self.store.list(self.bucket, self.prefix) if stored.key.endswith(SUFFIXES)]


@contextmanager
def making_partitions(target: Target, holder: str) -> Iterator[HeldLease]:
    """Hold the folder while partitions are made in it, and mark it as incomplete until the block ends well.

    What an interrupted making left is removed first. Nothing reads partitions from a folder that is marked.

    Args:
        target: the folder.
        holder: who makes them, for the message to another one.

    Yields:
        The lease; `check` it before each partition, so that a process that was stopped for long writes no more.

    Raises:
        BadInput: the folder holds partitions of a making that ended.
        LeaseHeldError: another process makes partitions there.
        StoreError: the store refuses.
    """
    with target.lease(f"{holder} {uuid.uuid4().hex[:8]}").keep(temporary=True) as held:
        there = target.partitions()
        if there and not target.is_incomplete():
            raise BadInput(
                f"{target.place} holds {counted(len(there), 'partition')} already: choose another folder, or empty it"
            )
        target.mark_incomplete()
        target.store.delete(target.bucket, [stored.key for stored in there])
        try:
            yield held
        except LeaseHeldError:
            raise  # the mark is another's now
        except BaseException:
            if not target.partitions():  # nothing was written, or all of it was removed
                target.mark_complete()
            raise
        held.check()
        target.mark_complete()


def open_survey(source: Path) -> "Galaxies":
    """Map a survey file.

    Raises:
        BadInput: there is no such file, or it is no survey.
    """
    from tasks.survey.array_files import open_arrays  # brings pandas, which a run on finished partitions needs later

    check_source(source)
    return open_arrays(source)


def check_source(source: Path) -> None:
    """Refuse what is no file, and no folder of Parquet files.

    Raises:
        BadInput: there is no such file.
    """
    if os.path.isdir(source):  # noqa: PTH112 - as below
        from tasks.survey.table_arrow import parquet_files

        if parquet_files(source):
            return
        raise BadInput(f"{source} is a folder: name the one file that holds the survey, or cosmic ingest for cut-outs")
    if not os.path.isfile(source):  # noqa: PTH113 - Path's raises where the name is too long
        raise BadInput(f"there is no survey file {source}")


def samples_each(size: str | int) -> int:
    """Samples in a partition, from "25MB" or a number of samples.

    >>> samples_each("25MB"), samples_each("300")
    (1278, 300)

    Raises:
        BadInput: neither.
    """
    if isinstance(size, str) and not size.strip().isdecimal():
        return samples_of_size(size)
    return checked_int(size, "size", 1, 10**9)


def write_partitions(
    survey: "Galaxies",
    each: int,
    target: Target,
    suffix: str = ".pt",
    progress: Callable[[int], None] = lambda samples: None,
) -> list[StoredObject]:
    """Cut the survey into partitions of `each` samples, the last one smaller, and put them into the target.

    Only one partition is in memory at a time. `progress` is called with the samples of each partition written.

    Returns:
        The partitions as the store knows them.

    Raises:
        StoreError: the target cannot be written.
    """
    written = []
    for number, part in enumerate(survey.batches(each), start=1):
        data = partition_bytes(part.images, part.magnitudes, part.redshifts, suffix, survey.facts)
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
        "format": wanted.format,
    }


def made_before(request: RunRequest, store: Store) -> list[StoredObject] | None:
    """The request's partitions if they were made before, from the same source at the same size.

    Returns:
        The partitions; None if there are none, or the making of these very ones was interrupted.

    Raises:
        BadInput: the source cannot be read, or other partitions lie under the prefix.
    """
    if request.partition is None:
        return None
    source = _source(request.partition)
    open_survey(source)
    facts = _facts(request.partition, source)
    target = Target(store, request.data_bucket, request.data_prefix)
    there = target.partitions()
    if not there:
        return None
    manifest = _manifest(store, request)
    complete = facts | {"files": [[stored.key, stored.etag] for stored in there]}
    if manifest == complete and not target.is_incomplete():
        return there
    if manifest in (complete, facts | {"files": None}):
        return None
    raise BadInput(
        f"{request.data_bucket}/{request.data_prefix}/ holds partitions that were not made from {source} at this size:"
        " choose another data_prefix, or leave out partition to use them"
    )


def _source(wanted: PartitionRequest) -> Path:
    return Path(os.path.expanduser(wanted.source))  # noqa: PTH111 - Path's raises where there is no such user


def _manifest(store: Store, request: RunRequest) -> Any:
    """What is noted of the partitions under the request's prefix; None if nothing that can be read."""
    try:
        return store.read_json(request.data_bucket, _manifest_key(request.data_prefix))
    except BadInput:
        return None


def make_partitions(request: RunRequest, wanted: PartitionRequest, store: Store, run_id: str) -> list[StoredObject]:
    """Make the partitions that the request wants, unless they are there.

    The manifest is written first, with no files, so that another try after an interruption makes them anew.

    Raises:
        BadInput: see `made_before`.
        StoreError: the bucket cannot be written.
    """
    there = made_before(request, store)
    if there is not None:
        return there
    source = _source(wanted)
    facts = _facts(wanted, source)

    def note(files: list[list[str]] | None) -> None:
        manifest = json.dumps(facts | {"files": files}).encode()
        store.write(request.data_bucket, _manifest_key(request.data_prefix), manifest)

    survey, _ = open_survey(source).usable()
    target = Target(store, request.data_bucket, request.data_prefix)
    if target.partitions():  # `made_before` knows them as the rest of an interrupted making
        target.mark_incomplete()
    with making_partitions(target, run_id) as held:
        note(None)
        written = write_partitions(
            survey, facts["samples"], target, f".{wanted.format}", progress=lambda samples: held.check()
        )
        note([[stored.key, stored.etag] for stored in written])
    return written

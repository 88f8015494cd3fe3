"""A model's file on this machine: fetched once, whichever of its processes asks first."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

from inference.errors import StoreError
from inference.model.checkpoint import content_hash
from inference.storage.atomic_write import atomic_write
from inference.storage.store import Store


def verified_file(store: Store, bucket: str, key: str, sha256: str) -> Path:
    """The object as a file: itself in a local store, else a copy that is kept in the scratch folder by its content.

    Of several processes that want it at once, as the workers of a cluster's node, one fetches it and the others wait.
    A copy that other bytes got into, as of a process that was killed, is fetched again.

    Args:
        store: the object store.
        bucket: of the object.
        key: of the object.
        sha256: of its content; "" in the event of an older version, which is then not verified.

    Raises:
        StoreError: there is no such object, or its content is another one.
    """
    file = store.local_path(bucket, key)
    if file is not None and not file.is_file():
        raise StoreError(f"cannot read {bucket}/{key}: no such object")
    if file is None:
        file = place_of_copy(key, sha256)
        if _holds(file, sha256):
            return file
        with _one_at_a_time(file):
            if _holds(file, sha256):
                return file
            with atomic_write(file, durable=False) as partial:
                partial.write_bytes(store.read(bucket, key))
    if sha256 and content_hash(file) != sha256:
        raise StoreError(f"the model {bucket}/{key} is not the one that the run was planned with: run it again")
    return file


def place_of_copy(key: str, sha256: str) -> Path:
    """Where the copy of an object lies on this machine."""
    name = hashlib.sha256(key.encode()).hexdigest()  # where no content hash is known, the key tells files apart
    return Path(gettempdir()) / f"cosmic-{sha256[:16]}-{name[:16]}{Path(key).suffix}"


def _holds(copy: Path, sha256: str) -> bool:
    return bool(sha256) and copy.is_file() and content_hash(copy) == sha256


@contextmanager
def _one_at_a_time(copy: Path) -> Iterator[None]:
    """Wait for whoever fetches the same; where files cannot be locked, each fetches for itself."""
    lock = None
    with suppress(OSError):
        lock = os.open(copy.with_name(f"{copy.name}.lock"), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if lock is not None:
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        if lock is not None:
            os.close(lock)

"""Whether a local store can be written, seen before the first write; over S3 the first write tells."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from inference.errors import BadInput, StoreError
from inference.storage.store import Store


def check_writable(store: Store) -> None:
    """See whether a local store can be written, leaving nothing there.

    Raises:
        BadInput: it cannot.
    """
    if not store.is_local:
        return
    folder = Path(store.root)
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):  # which has no name; asking for the permissions is not enough
            pass
    except OSError as error:
        raise BadInput(f"the store {store.root} cannot be written: {folder}: {error.strerror}") from None


def check_place(store: Store, bucket: str, folder: str, names: Sequence[str] = ()) -> None:
    """See that nothing in a local bucket is in the way of what will be written below one of its folders.

    Args:
        store: the object store.
        bucket: in it.
        folder: key of the folder, which need not be there; "" for the whole bucket.
        names: of files that will be written there.

    Raises:
        BadInput: a link on the way or below leads out of the bucket, a pipe or device lies there, a file stands where a
            folder must be, or a folder where a file must be.
    """
    if not store.is_local:
        return
    root = Path(store.root) / bucket
    way = [root, *(root.joinpath(*folder.split("/")[:depth]) for depth in range(1, folder.count("/") + 2))]
    for path in way:
        if path.exists() and not path.is_dir():
            raise BadInput(f"{path} is in the way: it is no folder, and files are written below it")
    try:
        store.local_path(bucket, folder)
        for path in _odd(way[-1]):
            store.local_path(bucket, str(path.relative_to(root)))
    except (OSError, StoreError) as error:
        raise BadInput(str(error)) from error
    for name in names:
        if (way[-1] / name).is_dir():
            raise BadInput(f"{way[-1] / name} is in the way: it is a folder, and a file is written there")


def _odd(folder: Path) -> Iterator[Path]:
    """Every symbolic link, pipe, socket and device below a folder; none is followed or opened."""
    waiting = [folder] if folder.is_dir() else []
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)

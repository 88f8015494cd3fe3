"""Scripts on a worker's disk: every object is downloaded once, and again only when it has changed, here or there.

Beside the copies lies an index, {key: [where it came from, ETag, size and time of the copy]}. It outlives the process,
as the disk of a Lambda function does, and is what tells our copies from files that are not ours to remove.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from inference.contract.json_text import parse_json
from inference.contract.object_keys import checked_key
from inference.errors import BadInput, RankFailed, StoreError
from inference.scripts.process import write_log
from inference.storage.atomic_write import atomic_write
from inference.storage.store import Store, StoredObject

INDEX = ".cosmic-scripts.json"


def fetch(store: Store, bucket: str, folder: str, listing: Sequence[StoredObject], scratch: Path) -> None:
    """Make `scratch/<key>` of each object what it is in the bucket; tell it in the contract's log lines.

    Copies of objects under `folder` that are not there any more are removed.

    Args:
        store: the object store.
        bucket: where the scripts lie.
        folder: key of their folder, or of the only file.
        listing: what lies there.
        scratch: the disk's folder for copies.

    Raises:
        BadInput: a key would leave `scratch`, or is a file and a folder at once.
        RankFailed: a copy cannot be written.
        StoreError: an object cannot be read, or is not the one that was listed.
    """
    wanted = {stored.key: stored for stored in files_of(folder, listing)}
    source = f"{store.root} {bucket}"
    index = parse_index(_read(scratch / INDEX))
    before = dict(index)
    gone = [key for key in index if key.startswith(f"{folder}/") and key not in wanted]
    key = ""
    try:
        for key in gone:
            _remove(scratch, key)
            del index[key]
        for key, stored in wanted.items():
            path = scratch / key
            write_log(f"s3key: {key} path: {path.parent} filename: {path.name}")
            if index.get(key) != [source, stored.etag, *_state(path)]:
                if stored.size == 0 and store.head(bucket, key) is None:
                    _folder_of(scratch, f"{key}/")  # the listing dropped the slash of what stands for an empty folder
                    continue
                write_log(f"downloading key: {key} to {path}")
                data = store.read(bucket, key)
                if len(data) != stored.size:
                    raise StoreError(f"{bucket}/{key} has changed since it was listed")
                _write(scratch, key, data)
                index[key] = [source, stored.etag, *_state(path)]
    except OSError as error:
        raise RankFailed(f"the script's file {key} cannot be kept in {scratch}: {error.strerror}") from None
    finally:
        if index != before:
            with suppress(OSError, RankFailed):  # without an index everything is downloaded again
                _write(scratch, INDEX, json.dumps(index).encode())


def files_of(folder: str, listing: Sequence[StoredObject]) -> list[StoredObject]:
    """The objects that are files; what consoles write down for an empty folder is none.

    Raises:
        BadInput: naming the key that would leave the folder, or is a file and a folder at once.
    """
    keys = {stored.key for stored in listing}
    folders = {folder for key in keys for folder in _folders(key)}
    found = []
    for stored in listing:
        if stored.key.endswith("/") or (stored.size == 0 and stored.key in folders):
            continue
        key = checked_key(stored.key, "S3_OBJECT_NAME: a key in it")
        if key in folders:
            raise BadInput(f"S3_OBJECT_NAME: the key {key!r:.80} is a file and a folder at once")
        if key != folder and not key.startswith(f"{folder}/"):
            raise BadInput(f"S3_OBJECT_NAME: the key {key!r:.80} does not lie in {folder!r:.80}")
        found.append(stored)
    return found


def script_hash(listing: Sequence[StoredObject]) -> str:
    """Hash of a staged folder's content, taken from its listing: keys, sizes and ETags, in whatever order they come."""
    facts = sorted([stored.key, stored.size, stored.etag] for stored in listing)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def parse_index(data: bytes) -> dict[str, list[Any]]:
    """The entries of an index that can be believed; of a damaged one, none."""
    try:
        document = parse_json(data, INDEX)
    except BadInput:
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: entry for key, entry in document.items() if _is_key(key) and isinstance(entry, list)}


def _is_key(key: str) -> bool:
    try:
        return checked_key(key, "key") == key
    except BadInput:
        return False


def _folders(key: str) -> list[str]:
    parts = key.rstrip("/").split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _state(path: Path) -> list[int]:
    """Size and time of a copy, [-1, 0] where there is none."""
    if path.is_symlink() or not path.is_file():
        return [-1, 0]
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _write(scratch: Path, key: str, data: bytes) -> None:
    """Put a copy in place in one step."""
    path = _folder_of(scratch, key) / Path(key).name
    try:
        with atomic_write(path, durable=False) as partial:
            partial.write_bytes(data)
    except StoreError as error:
        raise RankFailed(f"the script's file {key} cannot be kept: {error}") from None
    _forget_compiled(path)


def _folder_of(scratch: Path, key: str) -> Path:
    folder = scratch / key.rpartition("/")[0]
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() != scratch.resolve() / folder.relative_to(scratch):
        raise BadInput(f"S3_OBJECT_NAME: {folder} leads out of {scratch} by a symbolic link")
    return folder


def _remove(scratch: Path, key: str) -> None:
    path = scratch / key
    if path.parent.resolve() != scratch.resolve() / Path(key).parent:
        return
    path.unlink(missing_ok=True)
    _forget_compiled(path)
    with suppress(OSError):  # the first folder that still holds something ends it
        for folder in list(path.parents)[: key.count("/")]:
            cache = folder / "__pycache__"
            if cache.is_dir() and not any(cache.iterdir()):
                cache.rmdir()
            folder.rmdir()


def _forget_compiled(path: Path) -> None:
    """Python takes a compiled module for current if the source has its size and its second."""
    if path.suffix == ".py":
        for compiled in (path.parent / "__pycache__").glob("*.pyc"):
            if compiled.name.startswith(f"{path.stem}."):
                compiled.unlink(missing_ok=True)

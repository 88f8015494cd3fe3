"""One object-store face over S3 and a local folder, in which every bucket is a folder.

Both sides are obstore's: listings are paginated, writes are atomic, `create` is conditional. Only `local_path` tells
the two apart, for readers that can memory-map.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, S3Store

from inference.contract.json_text import parse_json
from inference.contract.object_keys import natural_order
from inference.contract.validation import shorten
from inference.errors import BadInput, StoreError
from inference.storage import s3
from inference.storage.local_tag import local_tag

S3_ROOT = "s3://"
_LONGEST_NAME = 255  # bytes of a file or a folder, in any file system of today


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing knows of an object.

    Attributes:
        key: key inside the bucket.
        size: bytes.
        etag: the store's own fingerprint of the content (S3), or `inference.storage.local_tag` (a folder).
        modified_at: when it was written, by the store's clock, in seconds since the epoch.
    """

    key: str
    size: int
    etag: str
    modified_at: float = field(default=0.0, compare=False)


@dataclass
class Request:
    """One answered request: when, by the wall clock (seconds since the epoch), and how many bytes it moved."""

    started_at: float
    ended_at: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0

    @property
    def seconds(self) -> float:
        """How long the answer took."""
        return self.ended_at - self.started_at


def request_figures(requests: Sequence[Request]) -> dict[str, Any]:
    """What a rank's record tells of its requests (`inference.contract.rank_result.RankResult`, `store_*`)."""
    times = [request.seconds for request in requests]
    return {
        "store_requests": len(requests),
        "store_seconds": sum(times),
        "store_min_s": min(times, default=0.0),
        "store_max_s": max(times, default=0.0),
        "store_first_at": min((request.started_at for request in requests), default=0.0),
        "store_last_at": max((request.ended_at for request in requests), default=0.0),
        "store_bytes_read": sum(request.bytes_read for request in requests),
        "store_bytes_written": sum(request.bytes_written for request in requests),
        "store_writes": sum(request.bytes_written > 0 for request in requests),
    }


class Store:
    """Buckets under one root: a folder, or `s3://` for AWS or whatever AWS_ENDPOINT_URL names.

    Attributes:
        requests: a list to which every answered request is added, once somebody puts a list there.

    Raises:
        StoreError: from every method, naming bucket and key, when the store refuses.
    """

    def __init__(self, root: str | Path) -> None:
        self.requests: list[Request] | None = None
        self.root = str(root)
        self.is_local = self.root != S3_ROOT
        if self.is_local:
            if self.root.startswith("s3:"):
                raise StoreError(f"a store is a folder or bare {S3_ROOT}, not {self.root!r}")
            self.root = _folder_of_store(self.root)

    @lru_cache(maxsize=32)  # noqa: B019 - a store lives as long as its process, and its buckets are few
    def _bucket(self, bucket: str) -> LocalStore | S3Store:
        if self.is_local:
            return LocalStore(Path(self.root) / bucket)
        return S3Store(bucket, **s3.options())

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket is there."""
        if self.is_local:
            return (Path(self.root) / bucket).is_dir()
        try:
            with self._named("look into", bucket, ""):
                next(iter(obstore.list(self._bucket(bucket), prefix=".cosmic/", chunk_size=1)), None)
        except StoreError as error:
            if error.__cause__ is not None and s3.code_of(error.__cause__) == "NoSuchBucket":
                return False
            raise
        return True

    @lru_cache(maxsize=32)  # noqa: B019 - as above
    def _folder(self, bucket: str) -> str:
        """Where a local bucket really lies; the bucket itself may be a symbolic link."""
        return os.path.realpath(Path(self.root) / bucket)

    def _check_links(self, bucket: str, key: str) -> None:
        """See that no symbolic link on the way to a local object leads out of its bucket, and that it is a file.

        Raises:
            BadInput: a name in the key is longer than a folder's can be.
            StoreError: one does, or it is a pipe, a socket or a device: who opens such a thing may wait for ever.
        """
        if not self.is_local:
            return
        if len(key) > _LONGEST_NAME // 4 and max(len(os.fsencode(part)) for part in key.split("/")) > _LONGEST_NAME:
            raise BadInput(
                f"{bucket}/{shorten(key)[1:-1]}... has a name of more than {_LONGEST_NAME} bytes between two slashes,"
                " which no folder can have: shorten it"
            )
        folder = self._folder(bucket)
        real = os.path.realpath(f"{folder}/{key}")
        if real != folder and not real.startswith(f"{folder}/"):
            raise StoreError(
                f"{bucket}/{key} lies behind a symbolic link that leads out of the bucket: put the files into it"
            )
        with suppress(OSError):
            if not stat.S_ISREG(mode := os.stat(real).st_mode) and not stat.S_ISDIR(mode):  # noqa: PTH116 - pathlib is slow
                raise StoreError(f"{bucket}/{key} is no regular file (a pipe, a socket or a device): move it away")

    def _no_folder(self, bucket: str) -> bool:
        return self.is_local and not self.has_bucket(bucket)

    def make_bucket(self, bucket: str) -> None:
        """Make the bucket in a local store unless it is there; over S3 buckets are made by the stack, or by hand."""
        if self._no_folder(bucket):
            try:
                (Path(self.root) / bucket).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make bucket {bucket} in {self.root}: {error.strerror}") from None

    @contextmanager
    def _named(self, action: str, bucket: str, key: str) -> Iterator["Request"]:
        self._check_links(bucket, key)
        request, requests = Request(started_at=time.time()), self.requests  # a late answer is not the next rank's
        try:
            yield request
            request.ended_at = time.time()
            if requests is not None:
                requests.append(request)
        except (BaseError, OSError, ValueError) as error:
            raise StoreError(f"cannot {action} {bucket}/{key}: {s3.reason_of(error)}") from s3.bare(error)

    def list(self, bucket: str, prefix: str) -> list[StoredObject]:
        """Every object under the folder `prefix` (never `prefix-old/`; "" for all), at any depth, in natural order."""
        found = [self._stored_object(entry, bucket, entry["path"]) for entry in self._entries(bucket, prefix)]
        return sorted(found, key=lambda stored: natural_order(stored.key))

    def list_few(self, bucket: str, most: int) -> Sequence[StoredObject] | None:
        """Every object of a bucket, in any order; None if there are more than `most`, which are not all listed."""
        few = islice(self._entries(bucket, ""), most + 1)
        found = [self._stored_object(entry, bucket, entry["path"]) for entry in few]
        return found if len(found) <= most else None

    def keys(self, bucket: str, prefix: str) -> set[str]:
        """The keys of those that `list` finds: of a hundred thousand objects a small part of its memory."""
        return {entry["path"] for entry in self._entries(bucket, prefix)}

    def _entries(self, bucket: str, prefix: str) -> Iterator[Any]:
        """What obstore tells of each object under a folder, page by page."""
        if self._no_folder(bucket):
            return
        with self._named("list", bucket, prefix):
            folder = prefix.rstrip("/") + "/" if prefix else None
            pages = obstore.list(self._bucket(bucket), prefix=folder)
            if not self.is_local:
                for page in pages:
                    yield from page
                return
            seen, place = set[str](), self._folder(bucket)
            for entry in (entry for page in pages for entry in page):
                key = entry["path"]
                above = key.rpartition("/")[0]
                if above not in seen:
                    self._check_links(bucket, above)
                    seen.add(above)
                # pathlib takes three times as long, and there may be ten thousand objects
                if os.path.islink(f"{place}/{key}"):  # noqa: PTH114
                    self._check_links(bucket, key)
                yield entry

    def head(self, bucket: str, key: str) -> StoredObject | None:
        """The object's size and ETag, or None where there is none."""
        if self._no_folder(bucket):
            return None
        try:
            with self._named("look up", bucket, key):
                entry = obstore.head(self._bucket(bucket), key)
        except StoreError as error:
            if _is_absent(error):
                return None
            raise
        return self._stored_object(entry, bucket, key)

    def expected(self, bucket: str, key: str, etag: str) -> StoredObject | None:
        """`head` of an object that a listing showed with this ETag, looked at again for two seconds where it differs.

        A store, or a gateway before it, may show a moment ago (S3 itself does not); what still differs has changed.
        """
        for pause in (0.1, 0.3, 0.6, 1.0, 0.0):
            stored = self.head(bucket, key)
            if self.is_local or not etag or (stored is not None and stored.etag == etag):
                break
            time.sleep(pause)
        return stored

    def read(self, bucket: str, key: str) -> bytes:
        """The whole object."""
        with self._named("read", bucket, key) as request:
            data = bytes(obstore.get(self._bucket(bucket), key).bytes())
            request.bytes_read = len(data)
        return data

    def download(self, bucket: str, key: str, path: Path) -> None:
        """The whole object as the file `path`, of which little is in memory at a time."""
        with self._named("read", bucket, key) as request, path.open("wb") as file:
            for chunk in obstore.get(self._bucket(bucket), key).stream():
                request.bytes_read += file.write(chunk)

    def find(self, bucket: str, key: str) -> bytes | None:
        """The whole object, None where there is no such object."""
        if self._no_folder(bucket):
            return None
        try:
            return self.read(bucket, key)
        except StoreError as error:
            if _is_absent(error):
                return None
            raise

    def read_json(self, bucket: str, key: str) -> Any:
        """The object as a JSON document, a dict or a list; None where there is no such object.

        Raises:
            BadInput: it is not JSON, names a key twice, is nested too deeply, or is neither an object nor a list.
        """
        data = self.find(bucket, key)
        if data is None:
            return None
        document = parse_json(data, f"{bucket}/{key} is damaged: it")
        if not isinstance(document, dict | list):
            raise BadInput(f"{bucket}/{key} is damaged: it is neither a JSON object nor a list")
        return document

    def write(self, bucket: str, key: str, data: bytes | Path) -> None:
        """Put `data` (bytes, or a file's content) under `key`, replacing what was there."""
        self.make_bucket(bucket)
        with self._named("write", bucket, key) as request:
            obstore.put(self._bucket(bucket), key, data)
            request.bytes_written = data.stat().st_size if isinstance(data, Path) else len(data)

    def create(self, bucket: str, key: str, data: bytes) -> bool:
        """Put `data` under `key` only if nothing is there; False, changing nothing, if something is."""
        self.make_bucket(bucket)
        try:
            with self._named("write", bucket, key) as request:
                obstore.put(self._bucket(bucket), key, data, mode="create")
                request.bytes_written = len(data)
        except StoreError as error:
            if isinstance(error.__cause__, AlreadyExistsError):
                # Where an answer was lost on the way, the client asked again and met its own object.
                return not self.is_local and self.read(bucket, key) == data
            raise
        return True

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Remove the objects; one that is not there is no error."""
        if not self.is_local and len(keys) > 1:  # over S3
            with self._named("delete", bucket, keys[0]):
                obstore.delete(self._bucket(bucket), list(keys))  # a thousand a request
            return
        for key in keys:
            try:
                with self._named("delete", bucket, key):
                    obstore.delete(self._bucket(bucket), key)
            except StoreError as error:
                if not _is_absent(error):
                    raise

    def copy(self, bucket: str, source: str, target: str) -> bool:
        """Put the content of one object under another key of the bucket; False where there is no such object.

        Over S3 the service copies; in a folder both names are one file until one of them is replaced.
        """
        if self._no_folder(bucket):
            return False
        try:
            with self._named("copy", bucket, source):
                self._check_links(bucket, target)
                obstore.copy(self._bucket(bucket), source, target)
        except StoreError as error:
            if _is_absent(error):
                return False
            raise
        return True

    def tag(self, bucket: str, entry: Any, key: str) -> str:
        """The ETag of what obstore has found under a key; in a folder, `inference.storage.local_tag`."""
        etag = (entry["e_tag"] or "").strip('"')
        return local_tag(f"{self._folder(bucket)}/{key}", etag, entry["size"]) if self.is_local else etag

    def _stored_object(self, entry: Any, bucket: str, key: str) -> StoredObject:
        return StoredObject(key, entry["size"], self.tag(bucket, entry, key), entry["last_modified"].timestamp())

    def local_path(self, bucket: str, key: str) -> Path | None:
        """The object as a file, where the store is a folder; None over S3."""
        self._check_links(bucket, key)
        return Path(self.root) / bucket / key if self.is_local else None


def _folder_of_store(root: str) -> str:
    """A root as an absolute path, which need not exist yet; refused where it can be none."""
    try:
        folder = Path(root).expanduser().resolve()
        folder.is_dir()  # raises where no file system takes the name, or nobody may look
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"the store {shorten(root)}: {getattr(error, 'strerror', None) or error}") from None
    return str(folder)


def _is_absent(error: StoreError) -> bool:
    return isinstance(error.__cause__, NotFoundError | FileNotFoundError)

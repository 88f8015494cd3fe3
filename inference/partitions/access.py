"""How a rank gets at a partition: `download` it whole first, `stream` it, or `memory-map` a file.

A streamed partition is usable once its two ends have arrived: there a `.pt` file keeps its index and all but the
pixels, a `.safetensors` file its header. The pixels follow in order, somewhat ahead of the batch being computed, and no
more than that of them is in memory. Requests are few and long, because S3 takes 5,500 reads a second under a prefix and
a thousand ranks start at once; a batch needs only its own bytes of one. Every request demands the content that the run
was planned with.
"""

import math
import mmap
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING

import numpy as np
import obstore
from obstore.exceptions import NotFoundError, PreconditionError

from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput, BadPartition, StoreError
from inference.partitions.partition import Images, Partition, open_partition
from inference.storage.store import Store, StoredObject

if TYPE_CHECKING:
    from obstore import GetOptions

ACCESS = ("download", "stream", "memory-map")

SMALL = 4 << 20  # bytes of an object that is not worth streaming
RANGE = 16 << 20  # bytes a request
AHEAD = 8 << 20  # bytes asked for beyond the batch at hand, at least
CHUNK = 1 << 19  # bytes handed over at a time while a request is being answered
_LEAD = 2 << 20  # bytes that a request still brings when the next is sent, which hides its latency
_HEAD = 1 << 16
_TAIL = 1 << 16  # the zip's directory, and ...
_TAIL_SHARE = 400  # ... 1/400 of the file: magnitudes and redshifts take 48 of a galaxy's 20,528 bytes

_Fetch = Callable[[int, int], Iterator[bytes]]


def default_access(store: Store) -> str:
    """The access that no other beats: a local file is mapped, an S3 object streamed."""
    return "memory-map" if store.is_local else "stream"


def open_access(store: Store, bucket: str, key: str, stored: StoredObject, access: str) -> Partition:
    """Open a partition of a store.

    Args:
        store: where it lies.
        bucket: its bucket.
        key: its key, which names it in messages.
        stored: its size and ETag; another content is refused, whenever it turns up.
        access: `download`: the whole object in memory before this returns; `stream`: batches come while the rest
            arrives (a small object is downloaded); `memory-map`: the file itself in a local store, else a copy in the
            scratch folder, of which nothing is left once the partition is let go.

    Returns:
        The partition. Walking through a streamed one raises what this raises. A thread lasts as long as its request,
        or until the partition is let go.

    Raises:
        BadInput: there is no such access.
        BadPartition: naming the partition: gone, changed, or nothing that `open_partition` takes.
        StoreError: the store refused, or the scratch folder is full.
    """
    if access not in ACCESS:
        raise BadInput(f"access must be one of {', '.join(ACCESS)}, not {access!r:.60}")

    def fetch(start: int, end: int) -> Iterator[bytes]:
        return _fetched(store, bucket, key, stored, start, end)

    if access == "memory-map":
        local = store.local_path(bucket, key)
        return _mapped_copy(fetch, stored.size, bucket, key) if local is None else open_partition(local, key)
    if access == "download" or stored.size <= SMALL:
        return open_partition(b"".join(fetch(0, stored.size)), key)
    return _streamed(fetch, stored.size, key)


def read_facts(store: Store, bucket: str, key: str, stored: StoredObject) -> SurveyFacts | None:
    """What a partition says of its survey, by its two ends; None where it says nothing, or cannot be read.

    Raises:
        StoreError: the store refused.
    """
    local = store.local_path(bucket, key)
    try:
        if local is not None:
            return open_partition(local, key).facts
        if stored.size <= SMALL:
            return open_partition(b"".join(_fetched(store, bucket, key, stored, 0, stored.size)), key).facts
        ends = mmap.mmap(-1, stored.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # pages never written take no memory
        for start, end in ((0, _HEAD), (stored.size - _TAIL, stored.size)):
            ends[start:end] = b"".join(_fetched(store, bucket, key, stored, start, end))
        return open_partition(ends, key).facts
    except BadPartition:
        return None  # its rank says what is wrong


def _fetched(store: Store, bucket: str, key: str, stored: StoredObject, start: int, end: int) -> Iterator[bytes]:
    """Bytes `start` .. `end` of the object, as they come, if it is still the one that was planned with."""
    changed = BadPartition(f"the partition {key} has changed since the run was planned")
    options: GetOptions = {"if_match": f'"{stored.etag}"'} if stored.etag and not store.is_local else {}
    if (start, end) != (0, stored.size):
        options["range"] = (start, end)
    try:
        with store._named("read", bucket, key) as request:
            answer = obstore.get(store._bucket(bucket), key, options=options)
            if store.tag(bucket, answer.meta, key) != stored.etag or tuple(answer.range) != (start, end):
                raise changed  # not every store that speaks S3 heeds If-Match
            for chunk in answer.stream(CHUNK):
                request.bytes_read += len(chunk)
                yield chunk
        if request.bytes_read != end - start:
            raise changed
    except StoreError as error:
        if isinstance(error.__cause__, PreconditionError):
            raise changed from None
        if isinstance(error.__cause__, NotFoundError | FileNotFoundError):
            raise BadPartition(f"the partition {key} is gone from {bucket}") from None
        raise


def _mapped_copy(fetch: _Fetch, size: int, bucket: str, key: str) -> Partition:
    try:
        with NamedTemporaryFile(prefix="cosmic-partition-") as copy:
            for chunk in fetch(0, size):
                copy.write(chunk)
            copy.flush()
            return open_partition(Path(copy.name), key)  # the mapping outlives the name
    except OSError as error:
        raise StoreError(f"cannot copy {bucket}/{key} to {gettempdir()}: {error.strerror}") from None


def _streamed(fetch: _Fetch, size: int, name: str) -> Partition:
    tail_at = size - _TAIL - size // _TAIL_SHARE
    ranges = _Ranges(fetch, size)
    tail = _Range(tail_at, size)
    ranges.begin(tail)
    ends = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # pages never written take no memory
    ends[:_HEAD] = ranges.read(0, _HEAD)
    ends[tail_at:] = tail.read(tail_at, size)
    try:
        outline = open_partition(ends, name)
    except BadPartition:
        # Between its ends the file reads as zeros here, which no format takes for its own. So it is damaged, or laid
        # out in some unusual way: the whole of it tells.
        return open_partition(b"".join(fetch(0, size)), name)
    base = np.frombuffer(ends, np.uint8).ctypes.data

    def arrived(array: np.ndarray) -> np.ndarray:
        start = array.ctypes.data - base
        end = start + array.nbytes
        data = (tail if start >= tail_at else ranges).read(start, end)
        return np.frombuffer(data, array.dtype).reshape(array.shape)

    redshifts = None if outline.redshifts is None else arrived(outline.redshifts)
    magnitudes = arrived(outline.magnitudes)
    images = _Images(ranges, outline.images, outline.images[:].ctypes.data - base)
    return Partition(name, images, magnitudes, redshifts, facts=outline.facts)


class _Images:
    """Images that are still arriving (`inference.partitions.partition.Images`); a slice waits for its bytes."""

    def __init__(self, ranges: "_Ranges", outline: Images, offset: int) -> None:
        self.shape, self.dtype = outline.shape, outline.dtype
        self._ranges, self._offset = ranges, offset
        self._bytes_each = math.prod(self.shape[1:]) * self.dtype.itemsize
        ranges.end = offset + len(self) * self._bytes_each

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, part: slice, /) -> np.ndarray:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise IndexError("arriving images are read in order")
        begin, end = (self._offset + row * self._bytes_each for row in (start, max(start, stop)))
        return np.frombuffer(self._ranges.read(begin, end), self.dtype).reshape(-1, *self.shape[1:])


class _Range:
    """Bytes `start` .. `end` of an object, which arrive in order while others read them."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self._data = np.empty(end - start, np.uint8)
        self._arrived = start
        self._failure: BaseException | None = None
        self._news = Condition()

    def fill(self, fetch: _Fetch, before: "_Range | None", abandoned: Event) -> None:
        """Fetch the bytes, once those before have come but for a few; a failure is raised where they are read."""
        try:
            if before is not None:
                before.wait(before.end - _LEAD)
            at = 0
            for chunk in fetch(self.start, self.end):
                if abandoned.is_set():
                    raise StoreError("nobody reads on")
                self._data[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
                at += len(chunk)
                if at < len(self._data):  # the last ones count when the answer is known to be whole, and metered
                    self._tell(arrived=self.start + at)
            self._tell(arrived=self.end)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for this thread any more
            self._tell(failure=error)

    def _tell(self, *, arrived: int = 0, failure: BaseException | None = None) -> None:
        with self._news:
            self._arrived, self._failure = max(self._arrived, arrived), failure
            self._news.notify_all()

    def wait(self, end: int) -> None:
        with self._news:
            self._news.wait_for(lambda: self._arrived >= end or self._failure is not None)
            if self._arrived < end and self._failure is not None:
                raise self._failure

    def read(self, start: int, end: int) -> memoryview:
        """Wait for these bytes, as far as they are of this range."""
        start, end = max(start, self.start), min(end, self.end)
        self.wait(end)
        return self._data[start - self.start : end - self.start].data


class _Ranges:
    """An object's bytes, fetched in order, somewhat ahead of their reader.

    What lies before the bytes read last is let go: whoever goes back has it fetched again.

    Attributes:
        end: no range that begins here or beyond is fetched.
    """

    def __init__(self, fetch: _Fetch, end: int) -> None:
        self.end = end
        self._fetch = fetch
        self._ranges: dict[int, _Range] = {}
        self._abandoned = Event()
        weakref.finalize(self, self._abandoned.set)

    def begin(self, new: _Range, before: _Range | None = None) -> None:
        Thread(target=new.fill, args=(self._fetch, before, self._abandoned), name="cosmic-stream").start()

    def read(self, start: int, end: int) -> memoryview:
        """Wait for these bytes."""
        first, beyond = start // RANGE, -(-end // RANGE)
        self._ranges = {index: kept for index, kept in self._ranges.items() if index >= first}
        ahead = end + max(AHEAD, end - start)  # at least the next batch, if it is as long as this one
        for index in range(first, -(-min(ahead, self.end) // RANGE)):
            if index not in self._ranges:
                self._ranges[index] = _Range(index * RANGE, min((index + 1) * RANGE, self.end))
                self.begin(self._ranges[index], self._ranges.get(index - 1))
        pieces = [self._ranges[index].read(start, end) for index in range(first, beyond)]
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

"""Reading many small objects: an object store answers one request in some 20 ms, which is waiting and nothing else."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

READERS = 64
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


def prefetch(read: Callable[[_Item], _Found], items: Iterable[_Item], readers: int = READERS) -> Iterator[_Found]:
    """What `read` gives for each item, in the items' order, while the next ones are being read.

    No more than twice as many as there are readers are under way or waiting to be taken, however many items there are.
    An error of `read` is raised in its item's place; of the items after it, those not begun are not read any more.
    """
    with ThreadPoolExecutor(readers, thread_name_prefix="cosmic-read") as pool:
        under_way: deque[Future[_Found]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(read, item))
                if len(under_way) >= 2 * readers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for left in under_way:
                left.cancel()

"""Collective operations over a transport: trees of log2(N) steps where the operation allows it.

All combine from left to right, so that an operation need not be commutative; one that is not associative is applied in
the order of the ranks by one of them.
"""

import time
from collections.abc import Callable

from inference.messages.transport import Transport

Combine = Callable[[bytes, bytes], bytes]


class Group:
    """The ranks that take part.

    Attributes:
        waited_s: seconds that this rank has waited for messages.
    """

    def __init__(self, transport: Transport, rank: int, size: int) -> None:
        self._transport, self.rank, self.size = transport, rank, size
        self.waited_s = 0.0

    def send(self, data: bytes, to: int) -> None:
        """Send to one rank."""
        self._transport.send(data, to)

    def recv(self, source: int) -> bytes:
        """Wait for a message of one rank."""
        began = time.perf_counter()
        try:
            return self._transport.recv(source)
        finally:
            self.waited_s += time.perf_counter() - began

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        self.bcast(self.reduce(b"", 0, lambda left, _: left, associative=True), 0)

    def bcast(self, data: bytes, root: int) -> bytes:
        """The root's data, on all ranks."""
        place, step = (self.rank - root) % self.size, 1
        while step < self.size and not place & step:
            step *= 2
        if place:
            data = self.recv((self.rank - step) % self.size)
        while step := step // 2:
            if place + step < self.size:
                self.send(data, (self.rank + step) % self.size)
        return data

    def reduce(self, data: bytes, root: int, combine: Combine, *, associative: bool) -> bytes:
        """All data combined, on the root; b"" elsewhere."""
        if not associative:
            parts = self.gather(data, root)
            return _fold(parts, combine) if parts else b""
        step = 1
        while step < self.size:
            if self.rank & step:
                self.send(data, self.rank - step)
                break
            if self.rank + step < self.size:
                data = combine(data, self.recv(self.rank + step))
            step *= 2
        if self.rank == 0 and root:
            self.send(data, root)
        if self.rank == root:
            return self.recv(0) if root else data
        return b""

    def gather(self, data: bytes, root: int) -> list[bytes]:
        """The data of all ranks in order, on the root; none elsewhere."""
        if self.rank != root:
            self.send(data, root)
            return []
        return [data if rank == root else self.recv(rank) for rank in range(self.size)]

    def scatter(self, parts: list[bytes], root: int) -> bytes:
        """This rank's part of what the root has."""
        if self.rank != root:
            return self.recv(root)
        for rank, part in enumerate(parts):
            if rank != root:
                self.send(part, rank)
        return parts[root]

    def scan(self, data: bytes, combine: Combine) -> bytes:
        """The data of the ranks up to this one, combined."""
        if self.rank:
            data = combine(self.recv(self.rank - 1), data)
        if self.rank + 1 < self.size:
            self.send(data, self.rank + 1)
        return data


def _fold(parts: list[bytes], combine: Combine) -> bytes:
    data, *rest = parts
    for part in rest:
        data = combine(data, part)
    return data

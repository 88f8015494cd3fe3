"""`fmi.Communicator`, with the signatures of the FaaS Message Interface (Copik et al., ICS 2023)."""

import atexit
import hashlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from inference.contract.messages import Meeting
from inference.errors import BadInput
from inference.messages.collectives import Group
from inference.messages.rendezvous import Rendezvous
from inference.messages.tcp import TcpTransport
from inference.messages.transport import RedisTransport, StoreTransport, Transport
from inference.messages.values import func, hints, types
from inference.storage.store import Store

_made: Counter[tuple[str, str, int]] = Counter()  # communicators of this process, by meeting, name and rank


class Communicator:
    """A rank's side of the messages of its run.

    Args:
        peer_id: this rank.
        num_peers: number of ranks.
        config: path of FMI's configuration; not read, because the run's request names the way of messages.
        comm_name: communicators of one name belong together.
        memory: of the function, MB; FMI chose a channel by it, the request does here.
        meeting: where ranks meet; default what the environment of a staged script says.

    Raises:
        BadInput: the run has no messages, or there is no such rank.
        RankFailed: the way of messages is not there.
    """

    def __init__(
        self,
        peer_id: int,
        num_peers: int,
        config: str = "",
        comm_name: str = "",
        memory: int = 0,
        meeting: Meeting | None = None,
    ) -> None:
        meeting = meeting or Meeting.of_environment()
        if not 0 <= peer_id < num_peers:
            raise BadInput(f"fmi: there is no rank {peer_id} of {num_peers}")
        mine = (meeting.folder, comm_name, peer_id)
        number, _made[mine] = _made[mine], _made[mine] + 1
        name = f"{hashlib.sha256(comm_name.encode()).hexdigest()[:16]}-{number}"
        place = Rendezvous(Store(meeting.store), meeting.bucket, meeting.folder, name, num_peers, meeting.timeout_s)
        self._group = Group(_transport(meeting, peer_id, place), peer_id, num_peers)
        if meeting.waited:
            atexit.register(self._keep_waited, Path(meeting.waited))

    def _keep_waited(self, path: Path) -> None:
        with suppress(OSError), path.open("a") as lines:
            lines.write(f"{self._group.waited_s}\n")

    @property
    def waited_s(self) -> float:
        """Seconds that this rank has waited for messages."""
        return self._group.waited_s

    def hint(self, hint: hints) -> None:
        """Accepted and not used: the request decides."""

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        self._group.barrier()

    def send(self, data: Any, dest: int, kind: types) -> None:
        """Send a value to a rank."""
        self._group.send(kind.encode(data), self._known(dest))

    def recv(self, src: int, kind: types) -> Any:
        """Wait for a value of a rank."""
        return kind.decode(self._group.recv(self._known(src)))

    def bcast(self, data: Any, root: int, kind: types) -> Any:
        """The root's value, on all ranks."""
        mine = kind.encode(data) if self._group.rank == self._known(root) else b""
        return kind.decode(self._group.bcast(mine, root))

    def gather(self, data: Any, root: int, kind: types) -> list[Any]:
        """The elements of all ranks in one list, on the root; an empty list elsewhere."""
        parts = self._group.gather(kind.encode(data), self._known(root))
        return [element for part in parts for element in kind.array(part).tolist()]

    def scatter(self, data: Any, root: int, kind: types) -> list[Any]:
        """This rank's elements of the root's list, which is shared out evenly; `kind` is the whole list's."""
        size = self._group.size
        if not kind.is_list or kind.length % size or not kind.length:
            raise BadInput(f"fmi: only a list whose length is divisible by {size} ranks can be scattered")
        parts: list[bytes] = []
        if self._group.rank == self._known(root):
            whole, share = kind.encode(data), 8 * kind.length // size
            parts = [whole[start : start + share] for start in range(0, len(whole), share)]
        elements: list[Any] = types(kind.datatype, kind.length // size).decode(self._group.scatter(parts, root))
        return elements

    def reduce(self, data: Any, root: int, function: func, kind: types) -> Any:
        """All values combined, on the root; None elsewhere."""
        combine = function.combining(kind)
        mine = kind.encode(data)
        combined = self._group.reduce(mine, self._known(root), combine, associative=function.associative)
        return kind.decode(combined) if self._group.rank == root else None

    def allreduce(self, data: Any, function: func, kind: types) -> Any:
        """All values combined, the same on all ranks."""
        combine = function.combining(kind)
        combined = self._group.reduce(kind.encode(data), 0, combine, associative=function.associative)
        return kind.decode(self._group.bcast(combined, 0))

    def scan(self, data: Any, function: func, kind: types) -> Any:
        """The values of the ranks up to this one, combined."""
        return kind.decode(self._group.scan(kind.encode(data), function.combining(kind)))

    def _known(self, rank: int) -> int:
        if not 0 <= rank < self._group.size:
            raise BadInput(f"fmi: there is no rank {rank} of {self._group.size}")
        return rank


def _transport(meeting: Meeting, rank: int, place: Rendezvous) -> Transport:
    if meeting.through == "tcp":
        return TcpTransport(rank, place, hashlib.sha256(meeting.folder.encode()).hexdigest()[:32])
    return StoreTransport(rank, place) if meeting.through == "store" else RedisTransport(rank, place, meeting.through)

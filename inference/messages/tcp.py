"""Messages over TCP, from rank to rank: each listens, and its note says where."""

import hmac
import socket
import struct
import uuid
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from inference.errors import RankFailed
from inference.messages.rendezvous import Rendezvous
from inference.messages.transport import Transport

_HELLO, _LENGTH = struct.Struct("!32sI"), struct.Struct("!Q")


class TcpTransport(Transport):
    """One connection for each pair of ranks and direction; a thread for each takes what arrives.

    Args:
        rank: this rank.
        rendezvous: where ranks say where they listen.
        secret: 32 characters that only ranks of the gang know.
    """

    def __init__(self, rank: int, rendezvous: Rendezvous, secret: str) -> None:
        self._rank, self._rendezvous, self._secret = rank, rendezvous, secret.encode()
        self._inboxes: list[SimpleQueue[bytes | None]] = [SimpleQueue() for _ in range(rendezvous.world_size)]
        self._peers: dict[int, socket.socket] = {}
        self._listener = socket.create_server(("", 0), backlog=rendezvous.world_size)
        rendezvous.come(rank, [_machine(), _address(), self._listener.getsockname()[1]])
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError):
            connection.settimeout(self._rendezvous.timeout_s)
            secret, source = _HELLO.unpack(_exactly(connection, _HELLO.size))
            if not hmac.compare_digest(secret, self._secret) or source >= self._rendezvous.world_size:
                return
            connection.settimeout(None)
            inbox = self._inboxes[source]
            try:
                while True:
                    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
                    inbox.put(_exactly(connection, length))
            finally:
                inbox.put(None)  # the other rank has ended

    def send(self, data: bytes, to: int) -> None:
        """Send over the connection to a rank, making it first."""
        try:
            if to not in self._peers:
                self._peers[to] = self._connect(to)
            self._peers[to].sendall(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise RankFailed(f"rank {to} of {self._rendezvous.world_size} cannot be reached: {error}") from None

    def _connect(self, to: int) -> socket.socket:
        machine, address, port = self._rendezvous.note_of(to)
        host = "127.0.0.1" if machine == _machine() else address
        connection = socket.create_connection((host, port), self._rendezvous.timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_HELLO.pack(self._secret, self._rank))
        return connection

    def recv(self, source: int) -> bytes:
        """Take the next message that has arrived."""
        for seconds in self._rendezvous.turns(f"no message from rank {source} has come"):
            with suppress(Empty):
                data = self._inboxes[source].get(timeout=seconds)
                if data is None:
                    self._inboxes[source].put(None)
                    raise RankFailed(f"rank {source} of {self._rendezvous.world_size} has ended before its message")
                return data
        raise AssertionError  # turns end with an exception


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        read = connection.recv_into(view)
        if not read:
            raise EOFError
        view = view[read:]
    return bytes(data)


def _machine() -> str:
    return f"{socket.gethostname()} {uuid.getnode():x}"


def _address() -> str:
    """This machine's address on the way to others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # an address of documentation (RFC 5737)
        return str(probe.getsockname()[0])
    return "127.0.0.1"

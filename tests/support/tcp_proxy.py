"""A TCP proxy before a server, whose connections a test breaks and restores."""

import socket
import struct
import threading
from contextlib import contextmanager, suppress


class TcpProxy:
    """Forwards bytes to `target`, (host, port). While it is cut, open connections are reset and new ones refused."""

    def __init__(self, target):
        self.target = target
        self.connections = 0
        self._lock = threading.Lock()
        self._open = set()
        self._listener = None
        self.port = 0
        self.restore()

    def restore(self):
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def cut(self):
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            broken, self._open = self._open, set()
        for connection in broken:
            with suppress(OSError):  # with a reset, as a broken network does
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _listen(self, listener):
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self.target, timeout=10)
            except OSError:
                if self._listener is not listener:
                    return
                continue
            far.settimeout(None)
            with self._lock:
                self.connections += 1
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for connection in (source, sink):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(url):
    """A proxy to an http://host:port/... address; yields it and the address that goes through it."""
    authority, slash, path = url.removeprefix("http://").partition("/")
    host, _, port = authority.partition(":")
    proxy = TcpProxy((host, int(port)))
    try:
        yield proxy, f"http://127.0.0.1:{proxy.port}{slash}{path}"
    finally:
        proxy.cut()

"""A TCP line to a server that a test can cut and mend."""

import socket
import struct
import threading
from contextlib import contextmanager, suppress


class Cable:
    """Passes bytes on to `target`, (host, port); while it is cut, calls are broken off and new ones refused."""

    def __init__(self, target):
        self.target = target
        self.calls = 0
        self._lock = threading.Lock()
        self._open = set()
        self._listener = None
        self.port = 0
        self.mend()

    def mend(self):
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
        for line in broken:
            with suppress(OSError):  # with a reset, as a line that breaks
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                line.shutdown(socket.SHUT_RDWR)
            line.close()

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
                self.calls += 1
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for line in (source, sink):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


@contextmanager
def cable_to(url):
    """A cable to an http://host:port/... address; yields it and the address by way of it."""
    place, slash, path = url.removeprefix("http://").partition("/")
    host, _, port = place.partition(":")
    cable = Cable((host, int(port)))
    try:
        yield cable, f"http://127.0.0.1:{cable.port}{slash}{path}"
    finally:
        cable.cut()

"""A Prefect server on SQLite of its own, with a log that says what it refused."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REFUSED = re.compile(r'HTTP/1\.1" (5\d\d)')


class Server:
    """A running server: its API's address, and its errors so far."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log

    def errors(self) -> int:
        """Requests answered with a 5xx, and tracebacks in the log."""
        text = self._log.read_text(errors="replace")
        return len(_REFUSED.findall(text)) + text.count("Traceback (most recent call last)")


@contextmanager
def running(home: Path) -> Iterator[Server]:
    """A fresh server in a process of its own; Prefect in this process's children finds it by the environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    wanted = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "INFO",  # a line a request, with its status
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    before, path = dict(os.environ), home / "server.log"
    os.environ |= wanted
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(port)]
    with path.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            server = Server(f"http://127.0.0.1:{port}/api", path)
            while not _answers(server.url):
                assert process.poll() is None, path.read_text()
                time.sleep(0.2)
            os.environ["PREFECT_API_URL"] = server.url
            yield server
        finally:
            os.environ.clear()
            os.environ |= before
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except OSError:
        return False

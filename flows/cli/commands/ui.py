"""cosmic ui: a Prefect server on this machine, which the runs started here report to."""

import argparse
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress

from flows.cli.running_ui import announced
from flows.cli.terminal import say
from inference.errors import BadInput, CosmicError

_POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--port", type=int, default=4200, metavar="N", help="of the server (default %(default)s)")


def main(args: argparse.Namespace) -> int:
    """Serve until interrupted; the exit code is the server's."""
    _check_port(args.port)
    url = f"http://127.0.0.1:{args.port}/api"
    with announced(url):
        server = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--port", str(args.port)])
        try:
            _wait_until_it_answers(server, url)
            _detect_crashes(url)
            say(f"Runs that are started on this machine now appear at http://127.0.0.1:{args.port}", "dim", stderr=True)
            return server.wait()
        finally:
            server.terminate()
            with suppress(KeyboardInterrupt):
                server.wait()


def _check_port(port: int) -> None:
    if not 1 <= port <= 65_535:
        raise BadInput(f"--port must lie between 1 and 65535, not {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BadInput(f"--port {port} cannot be used ({error.strerror}): choose another") from None


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str) -> None:
    while server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1):  # noqa: S310 - ours
            return
        time.sleep(_POLL_S)
    raise CosmicError(f"the Prefect server ended with exit code {server.returncode} before it answered")


def _detect_crashes(url: str) -> None:
    """Give the server the automation that marks silent runs as Crashed, unless it has it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.prefect_support.crash_detection import create_crash_detection

    with temporary_settings({PREFECT_API_URL: url}):
        create_crash_detection()

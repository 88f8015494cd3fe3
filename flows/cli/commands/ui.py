"""cosmic ui: a Prefect server on this machine, which runs started here report to, and the reports of the store."""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO

from flows.cli.options import add_store
from flows.cli.report_server import served
from flows.cli.terminal import say
from flows.cli.termination import Terminated, terminated_like_interrupted
from inference.errors import BadInput, CosmicError
from inference.storage.store import S3_ROOT
from tasks.prefect_support.running_ui import RunningUi, announced

_POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_store(parser)
    parser.add_argument(
        "--port",
        type=int,
        default=4200,
        metavar="N",
        help="of Prefect's server; reports take the next (default %(default)s)",
    )


def main(args: argparse.Namespace) -> int:
    """Serve until interrupted; the exit code is the server's, and 0 when this command is asked to end."""
    if args.store.startswith(S3_ROOT):
        raise BadInput("--store must be a folder: reports on S3 are shown by the AWS console, and by `cosmic open`")
    if not 1 <= args.port < 65_535:
        raise BadInput(f"--port must lie between 1 and 65534, not {args.port}")
    store = Path(args.store).resolve()
    _bound(args.port, "--port").close()
    try:
        with terminated_like_interrupted():
            return _serve(args, store)
    except Terminated:
        return 0


def _serve(args: argparse.Namespace, store: Path) -> int:
    ui = RunningUi(f"http://127.0.0.1:{args.port}/api", f"http://127.0.0.1:{args.port + 1}", str(store))
    with (
        _bound(args.port + 1, "the port of the reports, --port + 1 =") as port,
        announced(ui),
        served(store, port),
        tempfile.TemporaryFile() as said,  # Prefect's banner: settings to make that need none here
    ):
        # Without it, the page in the browser would ask port 4200, or the server that a profile names.
        environment = os.environ | {"PREFECT_UI_API_URL": ui.api}
        command = [sys.executable, "-m", "prefect", "--no-prompt", "server", "start", "--port", str(args.port)]
        server = subprocess.Popen(command, env=environment, stdout=said)
        try:
            _wait_until_it_answers(server, ui.api, said)
            _detect_crashes(ui.api)
            say(f"Runs that are started on this machine now appear at http://127.0.0.1:{args.port}", "dim", stderr=True)
            say(f"The reports of {store} are at {ui.reports}", "dim", stderr=True)
            return server.wait()
        finally:
            server.terminate()
            with suppress(KeyboardInterrupt):
                server.wait()


def _bound(port: int, name: str) -> socket.socket:
    """A socket bound to a port of this machine alone."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
    except OSError as error:
        made.close()
        raise BadInput(f"{name} {port} cannot be used ({error.strerror}): choose another --port") from None
    return made


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str, said: IO[bytes]) -> None:
    while server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1):  # noqa: S310 - ours
            return
        time.sleep(_POLL_S)
    said.seek(0)
    sys.stderr.write(said.read().decode(errors="replace"))
    raise CosmicError(f"the Prefect server ended with exit code {server.returncode} before it answered")


def _detect_crashes(url: str) -> None:
    """Give the server the automation that marks silent runs as Crashed, unless it has it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.prefect_support.crash_detection import create_crash_detection

    with temporary_settings({PREFECT_API_URL: url}):
        create_crash_detection()

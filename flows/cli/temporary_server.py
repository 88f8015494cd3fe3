"""A Prefect server for as long as one command runs, started before the command has imported what it needs itself.

The command opens the port and hands it over: from then on requests wait in it for the server, and nobody asks again
and again whether it is there. The server ends when its standard input does, however the command came to its end, or
stays for some minutes, in which the next command finds it (`kept_server`). Flow runs that a command did not bring to
an end, because it was killed, are marked as Crashed once no command uses the server.
`python -m flows.cli.temporary_server FD STAY_S FINGERPRINT` is the server.
"""

import contextlib
import fcntl
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from importlib import import_module
from typing import TYPE_CHECKING
from uuid import UUID

from flows.cli import kept_server
from inference.errors import CosmicError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_READY_TIMEOUT_S = 120.0  # the first start on a machine makes the database
_STOP_TIMEOUT_S = 15.0
_LOOK_S = 0.5  # how often a server that stays looks whether it is used
_SET_STATE = re.compile(r"/api/flow_runs/(?P<id>[0-9a-f-]{36})/set_state")
_ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",  # as Prefect's own temporary server: no scheduler, no telemetry
    "PREFECT__SERVER_FINAL": "1",
    # A lasting server registers block types when it starts; doing it here imports boto3 and kin, for a second.
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "0",
}


class TemporaryServer:
    """A server process on a free port of this machine: one that an earlier command left, or one of this command's own.

    Attributes:
        url: what PREFECT_API_URL is to be.
        stay_s: for how long the server stays after its last command, in seconds; 0 for one that ends with this command.
        found: whether an earlier command started it.

    Raises:
        BadInput: COSMIC_KEEP_SERVER is no number of minutes.
    """

    def __init__(self) -> None:
        self.stay_s = kept_server.seconds_to_stay()
        self._process: subprocess.Popen[bytes] | None = None
        self._users: kept_server.Users | None = None
        made_of, url = "", None
        if self.stay_s:
            try:
                self._users, made_of = kept_server.Users(), kept_server.server_fingerprint()
                url = kept_server.announced_server(made_of) if self._users.join() else None
            except OSError:  # a home in which nothing can be written: nothing stays there
                self.stay_s = 0.0
        self.found = url is not None
        self.url = url or self._start(made_of)

    def _start(self, made_of: str) -> str:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as port:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli.temporary_server", str(port.fileno()), f"{self.stay_s}", made_of],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[port.fileno()],
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is for the command, whose last messages have to arrive here
            )
            return f"http://127.0.0.1:{port.getsockname()[1]}/api"

    def wait(self, *modules: str) -> None:
        """Wait until it answers; if it is starting, import modules meanwhile.

        Raises:
            CosmicError: it ended before it did, or took two minutes; the message has the last line that it wrote.
        """
        for module in () if self.found else modules:
            import_module(module)
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=_READY_TIMEOUT_S):  # noqa: S310 - ours
                return
        except (OSError, ValueError) as error:
            if self.found:
                raise CosmicError(
                    f"the temporary Prefect server that an earlier command left at {self.url} does not answer"
                    f" ({error}): set {kept_server.SETTING}=0 for a server of this command's own"
                ) from None
            self.kill()
            raise CosmicError(f"the temporary Prefect server did not start: {self._last_line() or error}") from None

    def stop(self) -> None:
        """Use it no more, once the events and the log of this process have arrived there and are stored.

        A server that does not stay has ended then.
        """
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        if self.found or (self._process is not None and self._process.poll() is None):
            APILogWorker.drain_all(timeout=_STOP_TIMEOUT_S)
            EventsWorker.drain_all(timeout=_STOP_TIMEOUT_S)
        if self._process is not None:
            assert self._process.stdin is not None  # noqa: S101 - it was asked for
            self._process.stdin.close()
            if not self.stay_s:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_STOP_TIMEOUT_S)
                self.kill()
        if self._users is not None:
            self._users.leave()

    def kill(self) -> None:
        """End it at once, if it is this command's own."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


class _Watched:
    """The server's application, which notes the flow runs that came through it."""

    def __init__(self, application: "ASGIApp") -> None:
        self._application = application
        self.flow_runs: set[str] = set()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "http" and (match := _SET_STATE.fullmatch(scope["path"])):
            self.flow_runs.add(match["id"])
        await self._application(scope, receive, send)


def _mark_crashed(flow_runs: set[str], url: str) -> None:
    """Mark those of the flow runs as Crashed that have not ended."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import State
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Crashed

    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        for flow_run in map(UUID, flow_runs):
            state = client.read_flow_run(flow_run).state
            if state is None or not state.is_final():
                crashed: State[None] = Crashed(message="The command that ran this was killed before it ended.")
                client.set_flow_run_state(flow_run, crashed, force=True)


def _stay(seconds: float, watched: _Watched, url: str) -> None:
    """Return when nobody has used the server for so long, and keep others from joining then."""
    from httpx import HTTPError

    users, last_used = kept_server.Users(), time.monotonic()
    while True:
        if users.are_none():
            if time.monotonic() >= last_used + seconds:
                return
            left, watched.flow_runs = watched.flow_runs, set()
            users.leave()
            if left:
                with contextlib.suppress(HTTPError):
                    _mark_crashed(left, url)
        else:
            last_used = time.monotonic()
        time.sleep(min(_LOOK_S, seconds))


def main() -> None:
    """Serve on the inherited port until standard input has ended and, if it stays, nobody used it for so long."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import PREFECT_HOME

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """One at a time: the first start on a home makes its database, in which a second one would fail."""
            home = PREFECT_HOME.value()
            home.mkdir(parents=True, exist_ok=True)
            with (home / ".cosmic-start").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # gone with the process, however it ends
                await super().startup(sockets)

    port, stay_s, made_of = socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2]), sys.argv[3]
    url = f"http://127.0.0.1:{port.getsockname()[1]}/api"
    announcement = kept_server.Announcement(url, made_of).publish() if stay_s else None
    watched = _Watched(create_app())
    server = Server(
        uvicorn.Config(
            watched,
            log_level="error",
            lifespan="on",
            timeout_graceful_shutdown=2,  # clients that stay connected send nothing more
        )
    )

    def end_in_time() -> None:
        os.read(0, 1)
        if announcement is None and not server.started:
            os._exit(0)
        try:
            if announcement is None:
                _mark_crashed(watched.flow_runs, url)
            else:
                _stay(stay_s, watched, url)
        finally:
            if announcement is not None:
                announcement.truncate(0)
            server.should_exit = True

    threading.Thread(target=end_in_time, daemon=True).start()
    server.run(sockets=[port])


if __name__ == "__main__":
    main()

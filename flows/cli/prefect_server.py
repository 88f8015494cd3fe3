"""Which Prefect server a run reports to: the configured one, that of `cosmic ui`, or a temporary one.

A server that merely happens to listen on this machine is nobody's choice and is not joined.
"""

import os
import random
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from flows.cli.temporary_server import TemporaryServer
from flows.cli.terminal import say
from inference.contract.validation import sanitize_text
from inference.errors import BadInput, CosmicError
from tasks.prefect_support.running_ui import running_ui

if TYPE_CHECKING:
    from httpx import HTTPError
    from prefect import Flow

PATIENCE_S = 120.0  # for a server that is too busy to answer
_START_S = 8.0  # for one that is still starting: nobody listens at its port yet
_TIMEOUT_S = 10.0
_PAUSE_S = 2.0
_BUSY = {408, 429, 502, 503, 504}
_NAMES_AN_API = re.compile(r"(?i)prefect_api_url|\[(?:tool\.prefect\.)?api\]|\bapi\.url\b")
_R = TypeVar("_R")


def hush(*, verbose: bool) -> None:
    """Keep Prefect's own log off the terminal; it has to be called before Prefect is imported."""
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")  # events that a dead server did not take


@contextmanager
def connected(*, verbose: bool, left: str) -> Iterator[Callable[..., None]]:
    """Choose the server; import flows and tasks inside, while a temporary one is coming up.

    Args:
        verbose: show Prefect's own log.
        left: what is left to the user when the server goes away on the way, for the message that says so.

    Yields:
        What to call before the first flow starts: it waits until the server answers. Modules that it is given the names
        of are imported meanwhile, if there is a wait.

    Raises:
        BadInput: the configured server does not answer, refuses the credentials, or is no Prefect server.
        CosmicError: the server went away.
    """
    hush(verbose=verbose)
    configured = bool(os.environ.get("PREFECT_API_URL"))
    shared = None if configured else running_ui()
    # Started before Prefect is imported, which takes a second. A profile may name a server; then it was in vain.
    temporary = None if configured or shared else TemporaryServer()
    try:
        from prefect.settings import (
            PREFECT_API_URL,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
            PREFECT_SERVER_UI_ENABLED,
            temporary_settings,
        )

        url = PREFECT_API_URL.value()
        if url:
            if temporary is not None:
                temporary.kill()
            _wait_for(url)
            with _outlived(left):
                yield lambda *_: None
        elif shared is not None:
            say(f"Using the Prefect server of `cosmic ui` at {shared.api}", "dim", stderr=True)
            with temporary_settings({PREFECT_API_URL: shared.api}):
                _wait_for(shared.api)
                with _outlived(left):
                    yield lambda *_: None
        elif temporary is not None:
            say(_said_of(temporary), "dim", stderr=True)
            # It looks for no crashed run; a heart's last beat would cost up to a second.
            changes = {
                PREFECT_API_URL: temporary.url,
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                PREFECT_SERVER_UI_ENABLED: False,  # so that no address is shown that nobody answers
            }
            with temporary_settings(changes), _outlived(left):
                yield temporary.wait
    finally:
        if temporary is not None:
            temporary.stop()


def _said_of(server: TemporaryServer) -> str:
    """What the user is told about a temporary server."""
    switch = "COSMIC_KEEP_SERVER=0 ends it with its command"
    if server.found:
        return f"Using the temporary Prefect server that an earlier command left, at {server.url} ({switch})."
    staying = f" It stays {server.stay_s / 60:g} minutes for the next command ({switch})." if server.stay_s else ""
    return (
        "No Prefect server is configured: starting a temporary one (about 5 seconds, longer the first time)."
        f" `cosmic ui` in another terminal avoids the wait and shows the run.{staying}"
    )


@contextmanager
def reporting() -> Iterator[bool]:
    """For a command that works without Prefect: is there a server that it can report to?

    Prefect, which takes a second to import, is asked only where some setting may name a server, or `cosmic ui` runs.

    Raises:
        BadInput: the configured server does not answer, refuses the credentials, or is no Prefect server.
    """
    shared = None if os.environ.get("PREFECT_API_URL") else running_ui()
    if shared is None and not _may_name_a_server():
        yield False
        return
    hush(verbose=False)
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = PREFECT_API_URL.value() or (shared and shared.api)
    if not url:
        yield False
        return
    with temporary_settings({PREFECT_API_URL: url}):
        _wait_for(url)
        with _outlived("call the command again, which says whether all is there"):
            yield True


@contextmanager
def _outlived(left: str) -> Iterator[None]:
    """An error of Prefect's client, which has asked again and again, becomes a sentence."""
    from httpx import HTTPError
    from prefect.exceptions import ObjectNotFound

    from tasks.prefect_support.artifacts import give_up

    try:
        yield
    except (HTTPError, ObjectNotFound) as error:  # the second of a server that came back and knows of no such run
        give_up()
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CosmicError(f"the Prefect server went away ({reason}): {left}") from None


def _may_name_a_server() -> bool:
    """Whether the environment, or a file that Prefect reads settings from, speaks of an API's address."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    for path in (profiles, *map(Path, (".env", "prefect.toml", "pyproject.toml"))):
        with suppress(OSError):
            if _NAMES_AN_API.search(path.read_text(errors="replace")):
                return True
    return False


def call(flow: "Flow[..., _R]", *args: Any, **named: Any) -> _R:
    """Call a flow and say where the UI shows its run; while the server is too busy to create it, wait and ask again.

    Raises:
        httpx.HTTPError: the server was too busy for two minutes, or failed once the flow was running.
    """
    from httpx import HTTPError

    began = False

    def note_beginning(flow: object, flow_run: Any, state: object) -> None:
        nonlocal began
        if not began:
            _say_where_shown(flow_run)
        began = True

    watched = flow.with_options(on_running=[*flow.on_running_hooks, note_beginning])
    patience = _Patience("the Prefect server is busy: waiting until it creates the run")
    while True:
        try:
            result: _R = watched(*args, **named)
            return result
        except (HTTPError, RuntimeError) as raised:
            # The first call of Prefect's client, which asks for the server's version, wraps what went wrong.
            error = raised if isinstance(raised, HTTPError) else raised.__cause__
            if not isinstance(error, HTTPError):
                raise
            if began or not is_busy(error) or not patience.wait():
                raise error from None


def _say_where_shown(flow_run: Any) -> None:
    """Say at which address the Prefect UI shows a flow run, where the server has a UI."""
    from prefect.settings import PREFECT_SERVER_UI_ENABLED
    from prefect.utilities.urls import url_for

    url = url_for("flow-run", obj_id=flow_run.id) if PREFECT_SERVER_UI_ENABLED.value() else None
    if url is not None:
        say(f"The Prefect UI shows this run at {url}", "dim", stderr=True)


def is_busy(error: "HTTPError") -> bool:
    """Whether a server that is there could not answer in time."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _BUSY
    broken = (httpx.TimeoutException, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
    return isinstance(error, broken)


class _Patience:
    """Pauses between attempts, until the time is over."""

    def __init__(self, message: str, seconds: float = PATIENCE_S, pause_s: float = _PAUSE_S) -> None:
        self._message = message
        self._end = time.monotonic() + seconds
        self._pause_s = pause_s

    def wait(self) -> bool:
        """Pause and return True, or return False at once when the time is over."""
        if time.monotonic() > self._end:
            return False
        if self._message:
            say(f"{self._message[:1].upper()}{self._message[1:]}", "dim", stderr=True)
        self._message = ""
        time.sleep(self._pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - so that many runs do not ask at once
        return True


def _wait_for(url: str) -> None:
    """Ask the server something that needs credentials, as Prefect's own client does, until it answers."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    server = f"the Prefect server at {sanitize_text(url)} (PREFECT_API_URL)"
    patience = _Patience(f"{server} is busy: waiting for it")
    starting = _Patience(f"{server} does not answer: it may be starting, waiting {_START_S:g} s for it", _START_S, 0.5)
    while True:
        try:
            with (
                temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
                get_client({"timeout": _TIMEOUT_S}, sync_client=True) as client,
            ):
                client.read_flows(limit=1)
            return
        except httpx.HTTPError as error:
            if _nobody_listens(error, url) and starting.wait():
                continue
            if not is_busy(error):
                raise BadInput(_refusal(server, url, error)) from None
            reason = str(error) or type(error).__name__
        except ValueError:
            raise BadInput(f"{server} does not answer as a Prefect server does: check the address") from None
        if not patience.wait():
            raise BadInput(f"{server} is too busy ({reason.splitlines()[0]}): try again later, or name another server")


def _refusal(server: str, url: str, error: "HTTPError") -> str:
    """Why the server cannot be used, and what to do."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status in {401, 403}:
            way_on = "set PREFECT_API_AUTH_STRING to user:password, or PREFECT_API_KEY to a key of Prefect Cloud"
            return f"{server} refuses the credentials ({status}): {way_on}"
        return f"{server} answers {status}: the address of a server of one's own ends in /api"
    if (untrusted := next((each for each in _causes(error) if isinstance(each, ssl.SSLError)), None)) is not None:
        way_on = "name the file of your CA's certificates in PREFECT_API_SSL_CERT_FILE"
        return f"{server} has a certificate that is not trusted ({untrusted.reason}): {way_on}"
    if proxy := _proxy_to(url):
        way_on = f"check {urlsplit(url).scheme.upper()}_PROXY and NO_PROXY"
        return f"{server} cannot be reached through the proxy {sanitize_text(proxy)} ({error}): {way_on}"
    return f"{server} cannot be reached ({error}): start it, or unset the variable"


def _nobody_listens(error: BaseException, url: str) -> bool:
    """Whether the server's own port refuses connections, as that of a starting server does."""
    return any(isinstance(each, ConnectionRefusedError) for each in _causes(error)) and not _proxy_to(url)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _proxy_to(url: str) -> str | None:
    """The proxy that the environment names for an address, if there is one."""
    proxy = urllib.request.getproxies().get(urlsplit(url).scheme)
    return None if urllib.request.proxy_bypass(urlsplit(url).hostname or "") else proxy

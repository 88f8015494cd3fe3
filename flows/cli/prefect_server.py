"""Which Prefect server a run talks to: the one that is configured, one found running here, or a temporary one."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flows.cli.temporary_server import TemporaryServer
from flows.cli.terminal import say
from inference.contract.validation import sanitize_text
from inference.errors import BadInput

LOCAL_SERVER = "http://127.0.0.1:4200/api"


def _answers(url: str, timeout_s: float) -> bool:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=timeout_s) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except (OSError, ValueError):
        return False


def hush(*, verbose: bool) -> None:
    """Keep Prefect's own log off the terminal; only before Prefect is imported does it take notice."""
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")  # events that a dead server did not take


@contextmanager
def connected(*, verbose: bool) -> Iterator[Callable[[], None]]:
    """Settle the server; import flows and tasks inside, while a temporary one is coming up.

    Yields:
        What to call before the first flow starts: it waits until the server is there.

    Raises:
        BadInput: PREFECT_API_URL names a server that does not answer.
    """
    hush(verbose=verbose)
    found = not os.environ.get("PREFECT_API_URL") and _answers(LOCAL_SERVER, 0.5)
    # Begun before Prefect is imported, which takes a second and tells whether a profile names a server: then in vain.
    temporary = None if found or os.environ.get("PREFECT_API_URL") else TemporaryServer()
    try:
        from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, temporary_settings

        url = PREFECT_API_URL.value()
        if url:
            if temporary is not None:
                temporary.kill()
            if not PREFECT_API_KEY.value() and not _answers(url, 5.0):
                told = f"no Prefect server answers at {sanitize_text(url)} (PREFECT_API_URL)"
                raise BadInput(f"{told}: start it, or unset the variable")
            yield lambda: None
        elif temporary is None:
            say(f"Using the Prefect server at {LOCAL_SERVER}", "dim", stderr=True)
            with temporary_settings({PREFECT_API_URL: LOCAL_SERVER}):
                yield lambda: None
        else:
            say(
                "No Prefect server is running: starting a temporary one (about 5 seconds, longer the first time)."
                " `make ui` or `prefect server start` in another terminal avoids the wait and shows the run.",
                "dim",
                stderr=True,
            )
            with temporary_settings({PREFECT_API_URL: temporary.url}):
                yield temporary.wait
    finally:
        if temporary is not None:
            temporary.stop()

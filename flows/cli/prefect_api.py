"""Which Prefect server a run talks to: the one that is configured, one found running here, or a temporary one."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from flows.cli.common import say
from inference.errors import BadInput
from inference.fields import legible

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


@contextmanager
def connected(*, verbose: bool) -> Iterator[None]:
    """Settle the server before the first flow starts.

    Raises:
        BadInput: PREFECT_API_URL names a server that does not answer.
    """
    hush(verbose=verbose)
    from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, temporary_settings

    url = PREFECT_API_URL.value()
    if url:
        if not PREFECT_API_KEY.value() and not _answers(url, 5.0):
            told = legible(url)
            raise BadInput(f"no Prefect server answers at {told} (PREFECT_API_URL): start it, or unset the variable")
        yield
    elif _answers(LOCAL_SERVER, 0.5):
        say(f"Using the Prefect server at {LOCAL_SERVER}", "dim", stderr=True)
        with temporary_settings({PREFECT_API_URL: LOCAL_SERVER}):
            yield
    else:
        say(
            "No Prefect server is running: starting a temporary one (10 to 60 seconds, longest the first time)."
            " `make ui` or `prefect server start` in another terminal avoids the wait and shows the run.",
            "dim",
            stderr=True,
        )
        yield

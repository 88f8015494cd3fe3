"""Which server `cosmic ui` runs on this machine, as other commands find out.

`cosmic ui` holds a lock on a file in Prefect's home for as long as it runs, and the file holds the server's address. A
lock ends with its process, so a file that was left behind misleads nobody.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.errors import BadInput


def _file() -> Path:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    home.mkdir(parents=True, exist_ok=True)
    return home / "cosmic-ui"


@contextmanager
def announced(url: str) -> Iterator[None]:
    """Let `running_ui` return this address inside the block.

    Raises:
        BadInput: `cosmic ui` is running already.
    """
    with _file().open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"`cosmic ui` is running already, at {running_ui()}: end that one first") from None
        file.truncate(0)
        file.write(url)
        file.flush()
        yield


def running_ui() -> str | None:
    """Address of the API of the server that `cosmic ui` runs under this Prefect home, if it does."""
    try:
        with _file().open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _file().read_text() or None
    return None

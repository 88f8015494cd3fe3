"""Which servers `cosmic ui` runs on this machine, as other commands find out.

`cosmic ui` holds a lock on a file in Prefect's home for as long as it runs, and the file holds the servers' addresses.
A lock ends with its process, so a file that was left behind misleads nobody.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from inference.contract.json_text import parse_json
from inference.errors import BadInput


class RunningUi(NamedTuple):
    """What `cosmic ui` serves.

    Attributes:
        api: address of the API of its Prefect server.
        reports: address of the pages of the store, without a slash at the end.
        store: the folder whose pages these are, absolute.
    """

    api: str
    reports: str
    store: str


def _file() -> Path:
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    home.mkdir(parents=True, exist_ok=True)
    return home / "cosmic-ui"


@contextmanager
def announced(ui: RunningUi) -> Iterator[None]:
    """Let `running_ui` return these addresses inside the block.

    Raises:
        BadInput: `cosmic ui` is running already.
    """
    with _file().open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = running_ui()
            where = f", at {other.api}" if other else ""
            raise BadInput(f"`cosmic ui` is running already{where}: end that one first") from None
        file.truncate(0)
        file.write(json.dumps(ui))
        file.flush()
        yield


def running_ui() -> RunningUi | None:
    """What the `cosmic ui` under this Prefect home serves, if it runs."""
    try:
        with _file().open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        text = _file().read_text()
        return RunningUi(*parse_json(text, str(_file()))) if text else None
    return None


def address_of(page: Path) -> str | None:
    """Address of a page for a browser, while `cosmic ui` serves a folder that it lies in."""
    ui = running_ui()
    if ui is None or not page.resolve().is_relative_to(ui.store):
        return None
    return f"{ui.reports}/{quote(page.resolve().relative_to(ui.store).as_posix())}"

"""A temporary Prefect server that stays for some minutes after its command, so that the next command finds it.

Two files in Prefect's home tell who is there, by locks that end with their process, however it ends. The server holds
the one, in which its address stands. Each command that uses it shares the other; while any does, the server stays.
"""

import fcntl
import hashlib
import json
import math
import os
import socket
import sys
from importlib.metadata import version
from pathlib import Path
from typing import IO, NamedTuple

from inference.contract.json_text import parse_json
from inference.errors import BadInput

SETTING = "COSMIC_KEEP_SERVER"
_MINUTES = 5.0  # at a terminal; nothing is left behind by CI and by cron, which have none
_MOST_MINUTES = 24 * 60.0
# What Prefect reads settings from, beside the environment: the server that other settings made is not this one's.
_SETTINGS = (".env", "prefect.toml", "pyproject.toml")
_SAME_SERVER = ("PREFECT_LOGGING_", "PREFECT_INTERNAL_")  # only how much is logged


def seconds_to_stay() -> float:
    """For how long a temporary server is to outlive the last command that uses it, in seconds; 0 for not at all.

    Raises:
        BadInput: COSMIC_KEEP_SERVER is no number of minutes.
    """
    text = os.environ.get(SETTING, "").strip()
    if not text:
        return 60 * _MINUTES if sys.stderr.isatty() else 0.0
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes <= _MOST_MINUTES:
        raise BadInput(
            f"{SETTING} must be minutes from 0 to {_MOST_MINUTES:.0f}, not {text[:40]!r}:"
            " 0 ends a temporary Prefect server with its command"
        )
    return 60 * minutes


def _home() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()


def server_fingerprint() -> str:
    """A hash of what a server depends on: machine, user, Python, Prefect and Prefect's settings."""
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PREFECT_") and not name.startswith(_SAME_SERVER)
    }
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or _home() / "profiles.toml")
    files = [path.read_text(errors="replace") if path.is_file() else "" for path in (profiles, *map(Path, _SETTINGS))]
    made_of = [socket.gethostname(), os.getuid(), sys.executable, version("prefect"), settings, files]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


class Announcement(NamedTuple):
    """What a server that stays says of itself."""

    url: str
    made_of: str

    def publish(self) -> IO[str] | None:
        """Announce the server until this process ends or the file is emptied; None if another one is announced."""
        try:
            file = _opened("cosmic-server")
        except OSError:
            return None
        if not _locked(file, fcntl.LOCK_EX):
            file.close()
            return None
        file.truncate(0)
        file.write(json.dumps(self))
        file.flush()
        return file


class Users:
    """The commands that use the server that stays: each shares a lock, and the server looks whether it is free.

    Raises:
        OSError: the home cannot be written.
    """

    def __init__(self) -> None:
        self._file = _opened("cosmic-server-users")

    def join(self) -> bool:
        """Use the server from now on until `leave` or the end of this process; False if it is just ending."""
        return _locked(self._file, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Use it no more."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def are_none(self) -> bool:
        """Whether nobody uses the server; until `leave`, nobody then joins."""
        return _locked(self._file, fcntl.LOCK_EX)


def announced_server(made_of: str) -> str | None:
    """Address of the server that stays, if it runs, is this user's and was made of the same; call it having joined."""
    try:
        with _opened("cosmic-server") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid() or _locked(file, fcntl.LOCK_SH):
                return None
            file.seek(0)
            found = Announcement(*parse_json(file.read(), "the announcement"))
    except (OSError, BadInput, ValueError, TypeError):  # still empty, or not as a server writes it
        return None
    return found.url if found.made_of == made_of else None


def _opened(name: str) -> IO[str]:
    home = _home()
    home.mkdir(parents=True, exist_ok=True)
    return open(home / name, "a+", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600))


def _locked(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

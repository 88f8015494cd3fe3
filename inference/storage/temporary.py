"""Temporary files and folders of processes that may be killed: the next one of their kind removes what is abandoned.

A temporary name holds its owner: machine and process table, number and start time of the process. So anybody can tell
whether the owner still lives, and no lock is needed, which some shared file systems lack.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from inference.storage.process_identity import identity_of, this_process

_PREFIX, _SHARED = "cosmic-", "shared"
_OWNED = re.compile(r"-(?P<machine>[0-9a-f]{8})-(?P<process>\d{1,10})-(?P<started>\d{1,20})-[0-9a-f]{12}")
_FOLDER = re.compile(f"{_PREFIX}[a-z]*{_OWNED.pattern}")
_FILE = re.compile(rf"\..*{_OWNED.pattern}\.partial", re.DOTALL)
_SURELY_ABANDONED_S = 7 * 86_400.0  # of other machines, and of this one before it was started anew
_LONGEST = 150  # bytes of a name that are kept; a file system takes 255


@contextmanager
def temporary_folder(what: str = "") -> Iterator[Path]:
    """A new folder in the machine's place for temporary files; it is gone when the block is left.

    Args:
        what: a word for its name.

    Example:
        >>> with temporary_folder() as folder:
        ...     _ = (folder / "a.txt").write_text("a")
        >>> folder.exists()
        False
    """
    folder = _made(what)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def shared_folder() -> Path:
    """A new folder in the machine's place for temporary files, for processes that may outlive this one.

    Whoever is the last removes it; abandoned and empty, the next process does.
    """
    return _made(_SHARED)


def partial_of(path: Path) -> Path:
    """A hidden name beside `path` that no other writer takes.

    >>> partial_of(Path("out/a.txt")).parent, partial_of(Path("a.txt")).name[:7]
    (PosixPath('out'), '.a.txt-')
    """
    kept = os.fsencode(path.name)[:_LONGEST].decode(errors="ignore")
    return path.with_name(f".{kept}-{_owner()}.partial")


@lru_cache(maxsize=1024)
def remove_abandoned(place: Path) -> None:
    """Remove temporary files and folders whose owner is dead; each process looks once at each place."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            found = (_FILE if entry.name.startswith(".") else _FOLDER).fullmatch(entry.name)
            if found is None or not _is_abandoned(entry, found):
                continue
            if entry.name.startswith(f"{_PREFIX}{_SHARED}-"):
                with suppress(OSError):  # others may still be at work in it
                    Path(entry.path).rmdir()
            elif entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    Path(entry.path).unlink()


def _made(what: str) -> Path:
    place = Path(tempfile.gettempdir())
    remove_abandoned(place)
    folder = place / f"{_PREFIX}{what}-{_owner()}"
    folder.mkdir(mode=0o700)
    return folder


def _owner() -> str:
    """This process, and a number for one name of it."""
    *_, process, started = this_process().split() or ["0", "0"]
    return f"{_machine()}-{process}-{started}-{uuid.uuid4().hex[:12]}"


def _machine() -> str:
    """This machine since its start, and its process table; zeros where that is not known."""
    known = this_process().split()[:2]
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:8] if known else "0" * 8


def _is_abandoned(entry: os.DirEntry[str], found: re.Match[str]) -> bool:
    if found["machine"] == _machine() != "0" * 8:
        return identity_of(int(found["process"])).split()[2:] != [found["process"], found["started"]]
    with suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _SURELY_ABANDONED_S
    return False

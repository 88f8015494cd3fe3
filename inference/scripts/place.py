"""Where a script finds its folder: at `/tmp/<key>`, as the replaced function had it, whatever the scratch folder is.

A function owns its /tmp. Elsewhere several ranks share a machine, so that each script gets a mount namespace in which
`/tmp/<key>` is its worker's own copy. Where the machine allows none, a link stands there, for one rank at a time.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import gettempdir

from inference.errors import RankFailed

TMP = Path("/tmp")  # noqa: S108 - the contract's name for the place, on every machine
_LOCK = ".cosmic-scripts.lock"
_MOUNT = 'mount --bind -- "$1" "$2" && shift 2 && exec "$@"'


@contextmanager
def own_scratch() -> Iterator[Path]:
    """A folder for copies that no other process uses in the meantime: the scratch folder itself if that is free.

    Raises:
        RankFailed: nothing can be written there.
    """
    base = Path(gettempdir())
    for number in count():
        folder = base / f"cosmic-scripts-{number}" if number else base
        with _locked(folder, wait=False) as ours:
            if ours:
                yield folder
                return


@contextmanager
def at_tmp(scratch: Path, key: str) -> Iterator[list[str]]:
    """Make `/tmp/<key>` what `scratch/<key>` is, for a command with the words that are yielded before it.

    Args:
        scratch: the folder of the copies.
        key: of the script's folder, or of its only file; what stands first in it is what the script sees as its own.

    Raises:
        RankFailed: the place is taken by something that is not ours, and this machine allows no private one.
    """
    top = key.partition("/")[0]
    copy, place = scratch / top, TMP / top
    if scratch.resolve() == TMP.resolve():
        yield []
    elif words := namespace():
        _make_mount_point(copy, place)
        yield [*words, "sh", "-c", _MOUNT, "sh", str(copy), str(place)]
    else:
        with _locked(TMP / f".cosmic-{top}"), _linked(copy, place):
            yield []


@cache
def namespace() -> tuple[str, ...]:
    """The words before a command that give it mounts of its own; none where this machine refuses."""
    words = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
    if shutil.which(words[0]) is None:
        return ()
    tried = [*words, "sh", "-c", _MOUNT, "sh", str(TMP), str(TMP), "true"]
    return words if subprocess.run(tried, capture_output=True, check=False).returncode == 0 else ()


def _make_mount_point(copy: Path, place: Path) -> None:
    """Something to mount upon: it stays empty, and it is not removed, since another rank may stand on it."""
    try:
        if copy.is_dir():
            place.mkdir(exist_ok=True)
        elif not place.is_file():
            place.touch()
    except OSError as error:
        raise RankFailed(f"the script's folder cannot be put at {place}: {error.strerror}") from None


@contextmanager
def _linked(copy: Path, place: Path) -> Iterator[None]:
    note = TMP / f".cosmic-{place.name}" / _LOCK  # says which link a process that was killed has left
    try:
        if place.is_symlink() and str(place.readlink()) == note.read_text():
            place.unlink()
        note.write_text(str(copy))
        place.symlink_to(copy)
    except OSError as error:
        raise RankFailed(
            f"the script's folder cannot be put at {place}: {error.strerror}; remove what lies there,"
            " or run ranks where mount namespaces are allowed"
        ) from None
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the folder's lock, which ends with this process at the latest; yields whether it is held."""
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / _LOCK).open("a")
    except OSError as error:
        raise RankFailed(f"nothing can be written to {folder}: {error.strerror}") from None
    with lock:
        held = False
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        yield held

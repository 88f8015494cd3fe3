"""Where a script finds its folder, and what else it takes /tmp for: at `/tmp/<key>`, as the replaced function had it.

A function owns its /tmp, and scripts keep what they like there: payload.json, partitions, results. Elsewhere several
ranks share a machine, so that each script gets a /tmp of its own in a mount namespace; its worker's copy of the folder
is mounted in it, and the folders of the machine's /tmp are seen. Where the machine allows no namespace, one rank at a
time has /tmp.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import gettempdir

from inference.errors import RankFailed

TMP = Path("/tmp")  # noqa: S108 - the contract's name for the place, on every machine
_LOCK = ".cosmic-scripts.lock"
FUNCTION = "AWS_LAMBDA_FUNCTION_NAME"  # set where this process is a function, which shares its /tmp with nobody
_OWN, _BEFORE = ".cosmic-tmp", ".cosmic-before"  # a script's /tmp; in it, the machine's
_MOUNT = (
    'mount --rbind -- /tmp "$1/$4" && mount --bind -- "$2/$3" "$1/$3" && mount --rbind -- "$1" /tmp'
    ' && cd /tmp && shift 4 && exec "$@"'
)


@contextmanager
def own_scratch() -> Iterator[Path]:
    """A folder for copies that no other process uses in the meantime: the scratch folder itself if that is free.

    Where scripts cannot have a /tmp each, it is waited for.

    Raises:
        RankFailed: nothing can be written there.
    """
    base = Path(gettempdir())
    if base.resolve() == TMP.resolve() and FUNCTION not in os.environ:
        base = _of_user()
    for number in count():
        folder = base / f"cosmic-scripts-{number}" if number else base
        with _locked(folder, wait=not namespace()) as ours:
            if ours:
                yield folder
                return


@contextmanager
def at_tmp(scratch: Path, key: str, named: Iterable[str] = ()) -> Iterator[list[str]]:
    """Make `/tmp/<key>` what `scratch/<key>` is, for a command with the words that are yielded before it.

    What such a command writes to /tmp is its own, and is gone when the block is left.

    Args:
        scratch: the folder of the copies.
        key: of the script's folder, or of its only file; what stands first in it is what the script sees as its own.
        named: texts with paths in them that the script needs; what lies there in the machine's /tmp is seen. Other
            folders of it are seen unless the script's own text has their name: it makes that one.

    Raises:
        RankFailed: the place is taken by something that is not ours, and this machine allows no private one.
    """
    top = key.partition("/")[0]
    if words := namespace():
        own = scratch / _OWN
        _make_own(own, scratch / top, [*named, *sys.path, sys.executable, sys.base_prefix])
        try:
            yield [*words, "sh", "-c", _MOUNT, "sh", str(own), str(scratch), top, _BEFORE]
        finally:
            shutil.rmtree(own, ignore_errors=True)
    elif scratch.resolve() == TMP.resolve():
        yield []
    else:
        with _locked(_of_user()), _linked(scratch / top, TMP / top):
            yield []


def _of_user() -> Path:
    return TMP / f"cosmic-scripts-of-{os.geteuid()}"


@cache
def namespace() -> tuple[str, ...]:
    """The words before a command that give it mounts of its own; none where this machine refuses."""
    words = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
    if shutil.which(words[0]) is None:
        return ()
    tried = [*words, "sh", "-c", "mount --rbind /tmp /tmp"]
    return words if subprocess.run(tried, capture_output=True, check=False).returncode == 0 else ()


def _make_own(own: Path, copy: Path, named: Iterable[str]) -> None:
    """A folder to be a script's /tmp: a place for the copy, and links to what is seen of the machine's /tmp."""
    text, needed = _text_of(copy), "\0".join(named)
    try:
        if own.exists():  # of a worker that was killed
            shutil.rmtree(own)
        (own / _BEFORE).mkdir(parents=True)
        if copy.is_dir():
            (own / copy.name).mkdir()
        else:
            (own / copy.name).touch()
        for path in TMP.iterdir():
            seen = str(path) in needed or ((path.is_dir() or path.is_socket()) and not _is_word(path.name, text))
            if seen and path.name not in (copy.name, _OWN, _BEFORE):
                (own / path.name).symlink_to(Path(_BEFORE) / path.name)
    except OSError as error:
        raise RankFailed(f"the script's own /tmp cannot be made in {own}: {error.strerror}") from None


def _text_of(copy: Path) -> str:
    sources = copy.rglob("*.py") if copy.is_dir() else [copy]
    return "\n".join(source.read_text(errors="replace") for source in sources if source.is_file())


def _is_word(name: str, text: str) -> bool:
    return name in text and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) is not None


@contextmanager
def _linked(copy: Path, place: Path) -> Iterator[None]:
    note = _of_user() / f"{place.name}.link"  # says which link a process that was killed has left
    try:
        if place.is_symlink() and note.exists() and str(place.readlink()) == note.read_text():
            place.unlink()
        with suppress(OSError):
            place.rmdir()  # an empty folder, as ranks of earlier versions left
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

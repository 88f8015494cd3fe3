"""Environments of scripts: what a requirements file asks for, installed once a machine by pip and kept there."""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from inference.contract.validation import sanitize_text
from inference.errors import BadInput, RankFailed
from inference.scripts.place import FUNCTION
from inference.scripts.process import guard

NOT_ON_FUNCTIONS = (
    "script_environment: a function installs nothing: build its image with these requirements"
    " (deployments/aws/Dockerfile.scripts), deploy it with `cosmic deploy --image-uri` and leave script_environment out"
)
_FOLDER = "COSMIC_ENVIRONMENTS"
_COMPLETE = "installed.txt"  # written last: what pip has installed, by name and version
_ASKED = "requirements.txt"
_WITHIN = re.compile(r" \(from (line|-r) .*\)$")  # a copy of the file, which nobody knows by its name
_LONGEST = 300  # characters of pip's own words
_ERROR = re.compile(r"^ERROR: (.*)$", re.MULTILINE)


def python_with(requirements: str) -> str:
    """The interpreter of an environment with these requirements; the first to ask on a machine waits until it is made.

    It is kept under `~/.cache/cosmic-flows/environments`, or where COSMIC_ENVIRONMENTS says, named for the hash of the
    requirements and of this interpreter. Any of it may be removed at any time that no rank uses it.

    Args:
        requirements: the text of a requirements file, as pip has it.

    Raises:
        BadInput: pip cannot install them, or this process is a function.
        RankFailed: there is no room for them.
    """
    if FUNCTION in os.environ:
        raise BadInput(NOT_ON_FUNCTIONS)
    place = Path(os.environ.get(_FOLDER) or Path.home() / ".cache" / "cosmic-flows" / "environments")
    folder = place / _name(requirements)
    python = folder / "bin" / "python"
    try:
        if not _is_complete(folder):
            with _locked(folder.with_suffix(".lock")):
                if not _is_complete(folder):  # another process has made it meanwhile
                    _make(folder, requirements)
    except OSError as error:
        raise RankFailed(f"script_environment: nothing can be written to {place}: {error.strerror}") from None
    return str(python)


def _name(requirements: str) -> str:
    lines = [line.strip() for line in requirements.splitlines() if line.strip() and not line.strip().startswith("#")]
    here = [str(Path(sys.executable).resolve()), sys.version, platform.machine(), *platform.libc_ver()]
    return hashlib.sha256("\0".join([*here, "", *lines]).encode()).hexdigest()[:20]


def _is_complete(folder: Path) -> bool:
    """Whether an environment has been made to its end, and the interpreter that it rests on is still there."""
    return (folder / _COMPLETE).exists() and (folder / "bin" / "python").exists()


def _make(folder: Path, requirements: str) -> None:
    if folder.exists():  # of a process that was killed
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    asked = folder / _ASKED
    asked.write_text(requirements)
    python = str(folder / "bin" / "python")
    has_pip = find_spec("pip") is not None  # which then need not be installed there, too
    pip = [sys.executable, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        _run([sys.executable, "-m", "venv", *(["--without-pip"] if has_pip else []), str(folder)])
        _run([*pip, "install", *quiet, "--requirement", str(asked)])
        installed = _run([*pip, "freeze", *quiet])
    except BadInput:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / _COMPLETE).write_text(installed)


def _run(command: list[str]) -> str:
    """Run one step of the making; it ends with this process."""
    names = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with guard() as (mark, watch):
        process = subprocess.Popen(
            command,
            env={**names, **mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        watch(process.pid)
        output, _ = process.communicate()
    if process.returncode:
        causes = _ERROR.findall(output) or output.strip().splitlines() or [f"exit code {process.returncode}"]
        cause = sanitize_text(_WITHIN.sub("", causes[-1]))[:_LONGEST].rstrip(".")
        raise BadInput(f"script_environment: it cannot be made where the ranks run: {cause}")
    return output


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""A script in a container image: podman, or else docker, runs the image's Python, and the script finds what it knows.

Its folder lies at `/tmp/<key>` and a store that is a folder where it is outside; the rest of /tmp is the container's
own. The network is the machine's, so that ranks reach one another and the S3 endpoint as they do without an image.
"""

import csv
import io
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from inference.contract.json_text import parse_json
from inference.contract.validation import sanitize_text
from inference.errors import BadInput, RankFailed
from inference.scripts.environment import NOT_ON_FUNCTIONS
from inference.scripts.place import FUNCTION, TMP
from inference.scripts.process import MARK, Ended
from inference.storage.store import Store

_ENGINES = ("podman", "docker")
_PASSED = re.compile(r"(AWS|COSMIC)_\w+|PYTHONUNBUFFERED|(NO|HTTP|HTTPS|ALL)_PROXY", re.IGNORECASE)
_USED = ".cosmic-used"
# The image's own Python starts the script, and notes down what is not seen from outside: how the script ended, its CPU
# seconds and its memory (MB).
_MEASURES = """
import json, resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[2:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6], file)
"""
_LONGEST = 300  # characters of the engine's own words


class Container:
    """An image that is on this machine, and the program that starts it.

    Args:
        image: its name with a tag or a digest; it is pulled where it is not here.

    Raises:
        BadInput: neither podman nor docker is here, the image cannot be had, or this process is a function.
    """

    def __init__(self, image: str) -> None:
        if FUNCTION in os.environ:
            raise BadInput(NOT_ON_FUNCTIONS)
        self._image = image
        self._engine = next(filter(None, map(shutil.which, _ENGINES)), "")
        if not self._engine:
            raise BadInput(
                f"script_environment: the image {image} needs podman or docker where the ranks run: install one, or"
                " start the workers in that image and leave script_environment out"
            )
        if self._call("image", "inspect", image).returncode:
            pulled = self._call("pull", "--quiet", image)
            if pulled.returncode:
                raise BadInput(f"script_environment: the image {image} cannot be had: {_last_line(pulled.stderr)}")

    @contextmanager
    def at_tmp(
        self, scratch: Path, key: str, store: Store, names: Iterable[str], environment: Iterable[str]
    ) -> Iterator[list[str]]:
        """The words before `/tmp/<script> ARGUMENTS` that run it in the image; after the block no container is left.

        Args:
            scratch: the folder of the copies.
            key: of the script's folder, or of its only file.
            store: of the rank.
            names: of variables that get into the container.
            environment: names of all that there are where the words are run; those of AWS get in, too.
        """
        top, package = key.partition("/")[0], Path(str(files("inference")))
        used = scratch / _USED / "used.json"
        used.parent.mkdir(exist_ok=True)
        used.unlink(missing_ok=True)
        folders = [path for path in scratch.glob(".cosmic-*") if path.is_dir()]
        folders += [Path(store.root)] if store.is_local else []
        mounts = [_mount(scratch / top, TMP / top), _mount(package, package, "readonly=true")]
        mounts += [_mount(path, path) for path in folders]
        passed = [
            "HOME=/tmp",
            f"PYTHONPATH={package / 'messages' / 'for_scripts'}",
            MARK,
            *names,
            *filter(_PASSED.fullmatch, environment),
        ]
        name = f"cosmic-{secrets.token_hex(8)}"
        words = [self._engine, "run", "--rm", f"--name={name}", "--network=host", "--workdir=/tmp", self._user()]
        words += [*(f"--env={each}" for each in passed), *mounts, self._image, "python", "-c", _MEASURES, str(used)]
        try:
            yield words
        finally:
            self._call("rm", "--force", name)

    def ended(self, ended: Ended, scratch: Path) -> Ended:
        """What the script took, in place of what the command beside its container did.

        Raises:
            RankFailed: the image did not come to run it.
        """
        try:
            code, cpu_s, peak_rss_mb = parse_json((scratch / _USED / "used.json").read_bytes(), "what it used")
        except (OSError, ValueError, TypeError, BadInput):
            if ended.code in (125, 126, 127):  # of podman and docker themselves
                cause = _last_line(ended.tail)
                raise RankFailed(f"script_environment: the image {self._image} runs no script: {cause}") from None
            return ended
        return replace(ended, code=code, cpu_s=cpu_s, peak_rss_mb=peak_rss_mb)

    def _user(self) -> str:
        """Who the script is in the container, so that its files are this user's outside of it."""
        rootless = Path(self._engine).name == "podman" and os.geteuid() != 0
        return "--user=0:0" if rootless else f"--user={os.geteuid()}:{os.getegid()}"

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [self._engine, *words]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )


def _mount(source: Path, target: Path, *more: str) -> str:
    """An option that mounts a folder or a file; engines read it as a line of CSV.

    >>> _mount(Path("/a, b"), Path("/tmp/c"))
    '--mount=type=bind,"source=/a, b",target=/tmp/c'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["type=bind", f"source={source}", f"target={target}", *more])
    return f"--mount={line.getvalue()}"


def _last_line(output: str) -> str:
    return sanitize_text((output.strip().splitlines() or ["it says nothing"])[-1])[:_LONGEST]

"""A container image for tests, made of this machine's Python; no registry is asked."""

import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

IMAGE = f"localhost/cosmic-flows-test:{os.getpid()}"  # of this process alone
_LIBRARY = re.compile(r"(?:=> |^\s+)(/\S+)", re.MULTILINE)
_LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "idlelib", "__pycache__", "ensurepip", "tkinter"}
_CONFIG = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
{runtime}
"""


@contextmanager
def image_in(folder):
    """Make the image; gives a file with the settings that podman needs where it may raise no limit.

    Skips where podman starts no container.
    """
    if shutil.which("podman") is None:
        pytest.skip("podman is not on this machine")
    config = folder / "containers.conf"
    limits = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    files, processes = (1024 if limit == resource.RLIM_INFINITY else min(limit, 1024) for limit in limits)
    runtime = 'runtime = "runc"' if shutil.which("runc") else ""
    config.write_text(_CONFIG.format(files=files, processes=processes, runtime=runtime))
    environment = os.environ | {"CONTAINERS_CONF": str(config)}
    archive = folder / "image.tar"
    _pack(archive)
    _podman(environment, "import", "--quiet", str(archive), IMAGE)
    _podman(environment, "run", "--rm", "--network=host", IMAGE, "python", "-c", "import json, resource, subprocess")
    yield str(config)
    _podman(environment, "rmi", "--force", IMAGE)


def _podman(environment, *words):
    ended = subprocess.run(["podman", *words], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"podman starts no container on this machine: {ended.stderr.strip()[-200:]}")


def _pack(archive):
    python = Path(sys.executable).resolve()
    library = Path(os.__file__).parent
    extensions = [str(path) for path in (library / "lib-dynload").glob("*.so")]
    listed = subprocess.run(["ldd", str(python), *extensions], capture_output=True, text=True, check=True).stdout
    with tarfile.open(archive, "w") as tar:
        tar.add(python, "usr/bin/python")
        tar.add(library, str(library)[1:], filter=_needed)
        for path in {Path(found) for found in _LIBRARY.findall(listed)}:
            tar.add(path.resolve(), str(path)[1:])
        for name in ("tmp", "etc", "proc", "sys", "dev"):
            empty = tarfile.TarInfo(name)
            empty.type, empty.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(empty)


def _needed(member):
    return None if _LEFT_OUT & set(Path(member.name).parts) else member

"""An environment of their own for the engines that runs are compared with: none of them is a dependency of ours."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / ".cosmic" / "peers"
PEERS = {"dask": "distributed", "ray": "ray", "lithops": "lithops"}  # engine: its distribution


def python_with_peers(folder: Path = FOLDER) -> tuple[Path, set[str]]:
    """An interpreter that has the peers and, below them, all that this one has; which of the peers it has.

    It is made once. A peer that cannot be installed is left out.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True, symlinks=True)
        ours = [sysconfig.get_path("purelib"), str(REPOSITORY)]
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / "cosmic.pth").write_text("\n".join(ours) + "\n")
    there = {"pool"}
    for engine, distribution in PEERS.items():
        if _has(python, distribution) or _install(python, distribution):
            there.add(engine)
    return python, there


def _has(python: Path, distribution: str) -> bool:
    code = "import sys; from importlib.metadata import version; version(sys.argv[1])"
    return subprocess.run([python, "-c", code, distribution], capture_output=True, check=False).returncode == 0


def _install(python: Path, distribution: str) -> bool:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", distribution]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        print(f"{distribution} cannot be installed: {' '.join(reason)}", file=sys.stderr)
    return done.returncode == 0

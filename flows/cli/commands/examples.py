"""cosmic examples: the files that come with the package, copied to where they can be read and changed."""

import argparse
import shutil
from pathlib import Path

from flows.cli.terminal import say
from inference.errors import BadInput, StoreError

_ROOT = Path(__file__).parents[3]
_FOLDERS = (Path("deployments"), Path("benchmarks") / "sweeps")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to; it must be new or empty")


def main(args: argparse.Namespace) -> int:
    """Copy them."""
    folder: Path = args.folder
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(f"{folder} is not an empty folder: name another")
        for name in _FOLDERS:
            shutil.copytree(_ROOT / name, folder / name.name, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror or error}") from None
    say(
        f"{folder}: a request (deployments/demo/), sweeps (sweeps/), training recipes (deployments/training/),"
        " Prefect deployments (deployments/prefect.yaml and the folders beside it)"
    )
    return 0

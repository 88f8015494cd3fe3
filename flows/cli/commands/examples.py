"""cosmic examples: the files that come with the package, copied to where they can be read and changed."""

import argparse
import shutil
from pathlib import Path

from flows.cli.terminal import say
from inference.errors import BadInput, StoreError
from inference.storage.atomic_write import atomic_folder
from inference.storage.temporary import remove_abandoned

_ROOT = Path(__file__).parents[3]
_FOLDERS = (Path("deployments"), Path("benchmarks") / "sweeps")
_NAMES = {place.name for place in _FOLDERS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to; it must be new or empty")


def main(args: argparse.Namespace) -> int:
    """Copy them."""
    folder: Path = args.folder
    remove_abandoned(folder)
    try:
        there = {path.name for path in folder.iterdir()} if folder.exists() else set[str]()
        if there - _NAMES or there == _NAMES:
            raise BadInput(f"{folder} is not an empty folder: name another")
        for place in (place for place in _FOLDERS if place.name not in there):  # a killed command has copied some
            with atomic_folder(folder / place.name) as partial:
                _copy(_ROOT / place, partial)
    except NotADirectoryError:
        raise BadInput(f"{folder} is not an empty folder: name another") from None
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror or error}") from None
    say(
        f"{folder}: a request (deployments/demo/), sweeps (sweeps/), training recipes (deployments/training/),"
        " Prefect deployments (deployments/prefect.yaml and the folders beside it)"
    )
    return 0


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    except shutil.Error as error:  # the first of perhaps many
        raise StoreError(f"cannot write to {target.parent}: {error.args[0][0][2]}") from None

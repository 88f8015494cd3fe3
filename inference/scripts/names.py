"""Modules of a script that are called as this project's are: the script's are found first, as where ours are not."""

import shutil
from pathlib import Path

from inference.errors import RankFailed
from inference.scripts.place import TMP

_OURS = ("inference", "tasks", "flows", "benchmarks")
_FOLDER = ".cosmic-names"
_MEANS = """
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec(__name__, [{place!r}])
sys.modules[__name__] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[__name__])
"""


def own_names(scratch: Path, folder: str, script: str) -> list[str]:
    """What stands first on the script's path: a folder with its modules that have our names; nothing without any.

    A script puts its folders at the end of its path itself, behind where this project is installed.

    Args:
        scratch: the folder of the copies.
        folder: key of the script's folder.
        script: key of the script, whose own folder is first on its path anyway.

    Raises:
        RankFailed: nothing can be written there.
    """
    names, beside = scratch / _FOLDER, (scratch / script).parent
    try:
        shutil.rmtree(names, ignore_errors=True)  # of another script
        for name in _OURS:
            found = [path.parent for path in _modules(scratch / folder, name) if path.parent != beside]
            if found:
                place = min(found, key=lambda path: len(path.parts))
                names.mkdir(exist_ok=True)
                (names / f"{name}.py").write_text(_MEANS.format(place=str(TMP / place.relative_to(scratch))))
    except OSError as error:
        raise RankFailed(f"nothing can be written to {scratch}: {error.strerror}") from None
    return [str(names)] if names.exists() else []


def _modules(folder: Path, name: str) -> list[Path]:
    packages = [path for path in folder.rglob(name) if path.is_dir() and any(path.glob("*.py"))]
    return [*packages, *folder.rglob(f"{name}.py")]

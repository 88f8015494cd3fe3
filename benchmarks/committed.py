"""What was measured before: results by part and class of machine, so that like is compared with like.

`<part>.json` is of the machine that was measured first; others lie beside it as `<part>.<class>.json`.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CLASS = ("cpu", "cores")  # what decides how two rates on one machine compare; a version that slows one is news


def class_of(machine: Mapping[str, Any]) -> str:
    """The class of a machine as part of a file's name.

    >>> class_of({"cpu": "AMD EPYC 7B13 64-Core Processor", "cores": 2, "memory_gb": 8.1})
    'amd-epyc-7b13-64-core-processor-2'
    """
    return "-".join(re.findall(r"[a-z0-9]+", " ".join(str(machine.get(key, "")) for key in _CLASS).lower()))


def alike(before: Mapping[str, Any], machine: Mapping[str, Any]) -> bool:
    """Whether a result is of the machine's class; one that does not say where it was measured counts as such."""
    of = before.get("machine")
    return not isinstance(of, dict) or class_of(of) == class_of(machine)


def file_of(folder: Path, part: str, machine: Mapping[str, Any]) -> Path:
    """Where a result of the part on such a machine is kept: never over one of another class."""
    first = folder / f"{part}.json"
    return first if alike(committed(first), machine) else folder / f"{part}.{class_of(machine)}.json"


def committed(path: Path) -> dict[str, Any]:
    """The result as it was committed last, or as it lies here where there is no git; {} if there is none."""
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{path.name}"],  # noqa: S607 - git is where the user has it
        cwd=path.parent,
        capture_output=True,
        check=False,
    )
    try:
        document = json.loads(shown.stdout if shown.returncode == 0 else path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}

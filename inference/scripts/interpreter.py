"""Which Python runs a script: the worker's own or the one that the request names, and what a script lacked in it.

A script of the replaced system wants its own torch and timm, of versions that nobody else needs; they live in an
environment of their own on the workers.
"""

import re
import shutil
import sys
from pathlib import Path

from inference.contract.validation import shorten
from inference.errors import BadInput

_LACKS = re.compile(r"^(?:ModuleNotFoundError|ImportError): No module named '([\w.]{1,100})'", re.MULTILINE)


def interpreter(python: str) -> str:
    """The file of the interpreter; the worker's own where none is named.

    Args:
        python: a name on the PATH, or an absolute path, `~` being the worker's home.

    Raises:
        BadInput: there is none of that name here.
    """
    if not python:
        return sys.executable
    found = shutil.which(str(Path(python).expanduser()) if "/" in python else python)
    if found is None:
        raise BadInput(
            f"python: there is no interpreter {shorten(python, 200)} where the ranks run: make it there, or name"
            " another one"
        )
    return found


def lacking_module(tail: str, command: str, *, function: bool = False, made: bool = False, image: str = "") -> str:
    """Which module a script did not find, and the way on, from its last lines; "" where that was not the cause.

    >>> lacking_module("ModuleNotFoundError: No module named 'timm.models'", "/envs/astro/bin/python")
    '/envs/astro/bin/python has no module timm: install it there, or name an interpreter that has it with python'

    Args:
        tail: the script's last lines.
        command: the interpreter that ran it.
        function: it ran in a Lambda function, where nobody installs anything.
        made: it was made from the request's script_environment.
        image: the container image that it belongs to, "" for none.
    """
    found = _LACKS.findall(tail)
    if not found:
        return ""
    module = found[-1].partition(".")[0]
    if function:
        return (
            f"the function's {command} has no module {module}: put it into an image (deployments/aws/Dockerfile) and"
            " deploy that with `cosmic deploy --image-uri`, or run the script on local or Dask workers that have it"
        )
    if image:
        return f"the image {image} has no module {module}: build it with the package that has it"
    if made:
        return f"its environment has no module {module}: name the package that has it in script_environment"
    return f"{command} has no module {module}: install it there, or name an interpreter that has it with python"

"""The requirements file of a request's script: read and looked through before anything starts."""

import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from inference.contract.documents import read_document
from inference.contract.run_request import RunRequest
from inference.contract.script import is_image
from inference.contract.validation import shorten
from inference.errors import BadInput
from inference.storage.store import Store

_LARGEST_KB = 32  # it goes with the event of every rank
_ELSEWHERE = re.compile(r"^(-r|-c|-e|--requirement|--constraint|--editable)\b")
_ITS_OPTIONS = re.compile(r"\s--(hash|config-settings?|global-option)[= ].*$")


def read_requirements(request: RunRequest, store: Store) -> str:
    """The text of the requirements file that `script_environment` names; "" where it names none, or an image.

    A path is looked for on this machine, then in `script_source`, then in the script's folder in the bucket.

    Raises:
        BadInput: there is no such file, or a line of it means nothing on another machine.
    """
    name = request.script_environment
    if not name or is_image(name):
        return ""
    data = _read(request, store)
    if data is None:
        raise BadInput(
            f"script_environment: there is no file {shorten(name, 200)}, neither on this machine nor in the script's"
            " folder; the name of a container image ends in a tag or a digest (team/astro:1.2)"
        )
    if len(data) > _LARGEST_KB * 1024:
        raise BadInput(f"script_environment: {name} is larger than {_LARGEST_KB} KB: is it a requirements file?")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadInput(f"script_environment: {name} is no text file") from None
    _check(text, name)
    return text


def _read(request: RunRequest, store: Store) -> bytes | None:
    name = Path(request.script_environment).expanduser()
    places = [name]
    if request.script_source is not None and not name.is_absolute():
        places.append(Path(request.script_source).expanduser() / name)
    for path in places:
        try:
            if path.is_file():
                return read_document(path, "the requirements file")
        except ValueError as error:
            raise BadInput(f"script_environment: cannot read {path}: {error}") from None
    key = f"{request.S3_object_name}/{request.script_environment}"
    there = store.keys(request.bucket, str(request.S3_object_name))
    return store.read(request.bucket, key) if key in there else None


def _check(text: str, name: str) -> None:
    """See that each line is a requirement, or an option of pip that holds on every machine.

    Raises:
        BadInput: naming the first line that is not.
    """
    number = 0
    for joined in re.split(r"(?<!\\)\n", text.replace("\r\n", "\n")):
        first, number = number + 1, number + 1 + joined.count("\n")
        line = re.sub(r"(^|\s)#.*$", "", joined.replace("\\\n", " ")).strip()
        where = f"script_environment: line {first} of {name}"
        if _ELSEWHERE.match(line):
            raise BadInput(f"{where} names another file, which the ranks lack: write its lines here")
        if not line or line.startswith(("--", "-i ", "-f ")) or _is_address(line):
            continue
        try:
            Requirement(_ITS_OPTIONS.sub("", line))
        except InvalidRequirement:
            raise BadInput(f"{where} is no requirement of Python packages: {shorten(line, 80)}") from None


def _is_address(line: str) -> bool:
    return line.startswith(("/", "https://", "http://", "git+", "file:///"))

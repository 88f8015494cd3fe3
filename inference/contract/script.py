"""A staged script, as a request and an event name it."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from inference.contract.object_keys import checked_key
from inference.contract.validation import shorten, text_of
from inference.errors import BadInput

SCRIPT_ENGINE = "script"  # what a result calls its engine when a script made it
_LONGEST_NAME = 255  # of an image
_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._-]*(:\d+(?=/))?(/[a-z0-9._-]+)*(:\w[\w.-]{0,127}|@sha256:[0-9a-f]{64})", re.ASCII
)


def is_image(name: str) -> bool:
    """Whether this names a container image, with a tag or a digest, as no file is named.

    >>> is_image("ghcr.io/team/astro:1.2"), is_image("localhost:5000/astro:1"), is_image("requirements.txt")
    (True, True, False)
    """
    return len(name) <= _LONGEST_NAME and _IMAGE.fullmatch(name) is not None


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script that lies in the run's bucket and is run in place of the built-in engine (contract, "Rank event").

    Attributes:
        folder: key of the script's folder, or of its only file (S3_OBJECT_NAME).
        entry: the file to run, written as the old function found it: `/tmp/<key>` (SCRIPT).
        kind: "folder" or "file" (S3_OBJECT_TYPE).
        arguments: of the script, as a shell would take them (EXEC_ARGS).
        sha256: of the folder's listing when the plan was made, "" when not known.
        python: the interpreter that runs it, a name or an absolute path on the workers; "" for the worker's own.
        requirements: text of a requirements file, which an environment of the script's own is made from; "" for none.
        image: name of a container image whose Python runs the script, with a tag or a digest; "" for none.
    """

    folder: str
    entry: str
    kind: str = "folder"
    arguments: str = ""
    sha256: str = ""
    python: str = ""
    requirements: str = ""
    image: str = ""

    @property
    def key(self) -> str:
        """The script's key in the bucket."""
        return self.entry.removeprefix("/tmp/")  # noqa: S108 - the contract's name for the place, no file of ours

    def to_wire(self) -> dict[str, Any]:
        """The event's keys that name a script."""
        wire = {
            "S3_OBJECT_NAME": self.folder,
            "SCRIPT": self.entry,
            "S3_OBJECT_TYPE": self.kind,
            "script_sha256": self.sha256,
        }
        wire |= {"EXEC_ARGS": self.arguments} if self.arguments else {}
        wire |= {"python": self.python} if self.python else {}
        wire |= {"script_environment": self.requirements} if self.requirements else {}
        return wire | ({"script_image": self.image} if self.image else {})

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read and check an event's script.

        Raises:
            BadInput: naming the key that is missing or wrong.
        """
        script = cls.checked(
            checked_key(text_of(wire, "S3_OBJECT_NAME"), "S3_OBJECT_NAME"),
            text_of(wire, "SCRIPT"),
            text_of(wire, "S3_OBJECT_TYPE", "folder"),
            text_of(wire, "EXEC_ARGS", ""),
            text_of(wire, "script_sha256", ""),
            text_of(wire, "python", ""),
        )
        image = text_of(wire, "script_image", "")
        if image and not is_image(image):
            raise BadInput(f"script_image: {shorten(image, 200)} is no name of an image with a tag or a digest")
        return replace(script, requirements=text_of(wire, "script_environment", ""), image=image)

    @classmethod
    def checked(
        cls, folder: str, entry: str, kind: str, arguments: str = "", sha256: str = "", python: str = ""
    ) -> Self:
        """A script whose entry lies in its folder, and whose arguments are words.

        Raises:
            BadInput: it does not, the kind is neither "folder" nor "file", or python is a path that says nothing on
                another machine.
        """
        if kind not in {"folder", "file"}:
            raise BadInput(f"S3_OBJECT_TYPE must be folder or file, not {kind!r:.40}")
        if "\0" in python or ("/" in python and not python.startswith(("/", "~/"))):
            raise BadInput(
                f"python must be a name on the PATH of the ranks or an absolute path there, not {shorten(python, 80)}"
            )
        script = cls(folder=folder, entry=entry, kind=kind, arguments=arguments, sha256=sha256, python=python)
        key = checked_key(script.key, "SCRIPT")
        if not (key == folder if kind == "file" else key.startswith(f"{folder}/")):
            raise BadInput(f"SCRIPT {entry!r:.80} does not lie in S3_OBJECT_NAME {folder!r:.80}")
        try:
            shlex.split(arguments)
        except ValueError as error:
            raise BadInput(f"EXEC_ARGS cannot be split into words: {error}") from None
        return script

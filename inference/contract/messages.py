"""How the ranks of a run send messages to one another, as an event names it and a script's environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from inference.contract.object_keys import RESERVED
from inference.contract.validation import is_number, shorten, text_of
from inference.errors import BadInput

TIMEOUT_S = 120.0
_REDIS = re.compile(r"rediss?://[^@/\s]+(/\d+)?")
_GANG = re.compile(r"[0-9a-f]{32}")
_THROUGH, _PLACE, _TIMEOUT, _WAITED = (f"COSMIC_MESSAGES{end}" for end in ("", "_PLACE", "_TIMEOUT", "_WAITED"))


def checked_way(value: str) -> str:
    """The way that messages take: `tcp`, `store`, or a Redis server's URL without a password.

    >>> checked_way("tcp"), checked_way("redis://cache:6379/0")
    ('tcp', 'redis://cache:6379/0')

    Raises:
        BadInput: it is none of them.
    """
    if value in {"tcp", "store"} or _REDIS.fullmatch(value):
        return value
    if "@" in value:
        raise BadInput("messages: leave the password out of the URL and put it into COSMIC_REDIS_PASSWORD of workers")
    raise BadInput(f"messages must be tcp, store or a URL such as redis://host:6379, not {shorten(value, 40)}")


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What a rank needs to find the others.

    Attributes:
        through: see `checked_way`.
        gang: names one start of a run, 32 hexadecimal digits that nobody can guess; ranks show it to one another.
        timeout_s: seconds after which a rank that does not come, or sends nothing, is missing.
    """

    through: str
    gang: str
    timeout_s: float = TIMEOUT_S

    def place(self, attempt: int) -> str:
        """Key of the folder in the run's bucket where the ranks of an attempt meet."""
        return f"{RESERVED}/messages/{self.gang}/{attempt}"

    def to_wire(self) -> dict[str, Any]:
        """As an event has it."""
        return {"through": self.through, "gang": self.gang, "timeout_s": self.timeout_s}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read and check it.

        Raises:
            BadInput: naming what is missing or wrong.
        """
        if not isinstance(wire, Mapping):
            raise BadInput("messages must be a JSON object")
        gang, timeout_s = text_of(wire, "gang"), wire.get("timeout_s", TIMEOUT_S)
        if not _GANG.fullmatch(gang):
            raise BadInput("messages: gang must be 32 hexadecimal digits")
        if not is_number(timeout_s, 0):
            raise BadInput("messages: timeout_s must be a number of seconds")
        return cls(through=checked_way(text_of(wire, "through")), gang=gang, timeout_s=float(timeout_s))

    def environment(self, bucket: str, attempt: int, waited: str) -> dict[str, str]:
        """What a script's environment says of it (`Meeting.of_environment`).

        Args:
            bucket: of the run.
            attempt: of the gang.
            waited: path of the file into which the script's seconds of waiting go.
        """
        place = f"{bucket}/{self.place(attempt)}"
        return {_THROUGH: self.through, _PLACE: place, _TIMEOUT: str(self.timeout_s), _WAITED: waited}


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Where and how the ranks meet, as a script's environment says it.

    Attributes:
        through: see `checked_way`.
        store: root of the store.
        bucket, folder: where they meet in it.
        timeout_s: as in `Messages`.
        waited: path of the file for the seconds of waiting; "" writes none.
    """

    through: str
    store: str
    bucket: str
    folder: str
    timeout_s: float = TIMEOUT_S
    waited: str = ""

    @classmethod
    def of_environment(cls) -> Self:
        """Read this process's environment.

        Raises:
            BadInput: the run knows of no messages.
        """
        if _THROUGH not in os.environ:
            raise BadInput('the run has no messages among its ranks: add "messages": "tcp" to the request')
        bucket, _, folder = os.environ[_PLACE].partition("/")
        return cls(
            through=os.environ[_THROUGH],
            store=os.environ["COSMIC_STORE"],
            bucket=bucket,
            folder=folder,
            timeout_s=float(os.environ[_TIMEOUT]),
            waited=os.environ.get(_WAITED, ""),
        )

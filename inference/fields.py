"""Fields of JSON documents from outside, checked where they enter."""

import math
import re
from collections.abc import Mapping
from typing import Any

from inference.errors import BadInput

_WHOLE = re.compile(r"\s*-?\d{1,18}\s*")


def checked_int(value: object, field: str, low: int, high: int) -> int:
    """Read a whole number that may have arrived as text, as the contract allows.

    Raises:
        BadInput: not a whole number, or outside low..high.
    """
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and _WHOLE.fullmatch(value)):
        number = int(value)
    if number is None:
        raise BadInput(f"{field} must be a whole number, not {value!r:.60}")
    if not low <= number <= high:
        raise BadInput(f"{field} must lie between {low} and {high}, not {number}")
    return number


def text_of(wire: Mapping[str, Any], field: str, default: str | None = None) -> str:
    """The text under `field`.

    Raises:
        BadInput: it is missing and there is no default, or it is no text.
    """
    value = wire.get(field, default)
    if not isinstance(value, str):
        raise BadInput(f"{field} is missing" if value is None else f"{field} must be text")
    return value


def checked_as(name: str, value: object, kind: object) -> object:
    """A rank result's field of the kind that its dataclass names.

    Raises:
        BadInput: it is of another kind, or a number that is negative where it counts, or not finite.
    """
    good: bool
    if kind is bool:
        good = isinstance(value, bool)
    elif kind is int:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif kind is float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    elif kind is str:
        good = isinstance(value, str)
    else:  # data_path: str | list[str]
        parts = value if isinstance(value, list) else [value]
        good = bool(parts) and all(isinstance(part, str) for part in parts)
    if not good:
        raise BadInput(f"the rank result has a wrong {name}: {value!r:.60}")
    return float(value) if kind is float else value  # type: ignore[arg-type]

"""Fields of JSON documents from outside, checked where they enter."""

import re
import reprlib
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeGuard

from inference.errors import BadInput

_WHOLE = re.compile(r"\s*-?\d{1,18}\s*")
_LARGEST = 1e18  # beyond any count, time or size that a record tells; sums and products of such stay finite
_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode categories: control, format, half characters, line separators
_USERINFO = re.compile(r"(?<=://)[^/?#\s'\"]*@")
# Possessive and anchored at the start of a word, so that the time is linear in the length of the text.
_SECRET = re.compile(
    r"((?<![A-Z0-9_])(?=[A-Z0-9_]*?(?:SECRET|TOKEN|PASSWORD|API_KEY))[A-Z0-9_]++['\"]?\s*+[=:]\s*+['\"]?)[^\s'\",;}]++"
)
_DEEPER = reprlib.Repr()
_DEEPER.maxlevel = 3  # a document as deep as JSON may be cannot be written out whole


def shorten(value: object, length: int = 60) -> str:
    """A value from outside as a message shows it: on one line, cut short, and never walked through whole.

    >>> shorten([[[["deep"]]]])
    '[[[[...]]]]'
    >>> shorten(10**200)
    'a number of 665 bits'
    """
    if isinstance(value, list | tuple | dict | set):
        return _DEEPER.repr(value)[:length]
    if isinstance(value, int) and value.bit_length() > 512:
        return f"a number of {value.bit_length()} bits"[:length]
    return repr(value[: length + 1] if isinstance(value, str | bytes) else value)[:length]


def sanitize_text(text: object) -> str:
    """Text of somebody else's as a terminal, a log or a page may have it.

    Line ends stay; other control characters, what reorders or hides text, and halves of characters are written as
    Python writes them, so that nothing moves a cursor or breaks an encoding. User and password of an address, and the
    value of what is called a secret, as somebody's environment printed in an error has some, are left out.

    >>> sanitize_text("cannot reach https://me:pass@example.org, MY_TOKEN=abc")
    'cannot reach https://***@example.org, MY_TOKEN=***'
    """
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(
            each.encode("unicode_escape").decode() if unicodedata.category(each) in _STEERING and each != "\n" else each
            for each in shown
        )
    return _SECRET.sub(r"\1***", _USERINFO.sub("***@", shown))


def with_changes(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A document with some keys replaced; where both have an object, its keys are replaced one by one.

    >>> with_changes({"batch_size": 128, "partition": {"size": "25MB"}}, {"partition": {"format": "pt"}})
    {'batch_size': 128, 'partition': {'size': '25MB', 'format': 'pt'}}
    """
    merged = dict(document)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = with_changes(before, value)
        merged[key] = value
    return merged


def is_number(value: object, low: float = -_LARGEST, high: float = _LARGEST) -> TypeGuard[float]:
    """Whether a value is a number, not NaN, and within the bounds; whole ones may be too long for a float.

    >>> is_number(0.5), is_number(True), is_number(float("nan"))
    (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def checked_int(value: object, field: str, low: int, high: int) -> int:
    """Read a whole number that may have arrived as text, as the contract allows.

    >>> checked_int(" 512 ", "batch_size", 1, 4096)
    512
    >>> checked_int(0, "batch_size", 1, 4096)
    Traceback (most recent call last):
    inference.errors.BadInput: batch_size must lie between 1 and 4096, not 0

    Raises:
        BadInput: not a whole number, or outside low..high.
    """
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and _WHOLE.fullmatch(value)):
        number = int(value)
    if number is None:
        raise BadInput(f"{field} must be a whole number, not {shorten(value)}")
    if not low <= number <= high:
        raise BadInput(f"{field} must lie between {low} and {high}, not {shorten(number)}")
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
        BadInput: it is of another kind, a number that is negative where it counts, not finite or beyond
            reason, or text that nothing could show.
    """
    good: bool
    if kind is bool:
        good = isinstance(value, bool)
    elif kind is int:
        good = isinstance(value, int) and is_number(value, 0)
    elif kind is float:
        good = is_number(value)
    elif kind is str:
        good = isinstance(value, str) and value.isprintable()
    else:  # data_path: str | list[str]
        parts = value if isinstance(value, list) else [value]
        good = bool(parts) and all(isinstance(part, str) and part.isprintable() for part in parts)
    if not good:
        raise BadInput(f"the rank result has a wrong {name}: {shorten(value)}")
    return float(value) if kind is float else value  # type: ignore[arg-type]

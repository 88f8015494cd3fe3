"""Object keys from outside, checked where they enter, and their natural order."""

import re

from inference.errors import BadInput

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
RESERVED = ".cosmic"  # the folder, in any other, that only this project writes
_MAX_KEY_BYTES = 1024  # S3's limit for a key


def checked_key(value: str, field: str) -> str:
    """Return `value` if it is a relative object key that stays where it is put.

    >>> checked_key("survey/100MB/", "data_prefix")
    'survey/100MB'
    >>> checked_key("../secret", "data_prefix")
    Traceback (most recent call last):
    inference.errors.BadInput: data_prefix has an empty, '.' or '..' segment: '../secret'

    Args:
        value: a key or a key prefix; a trailing slash is dropped.
        field: how the value is called where it came from, for the message.

    Raises:
        BadInput: empty, absolute, too long, or with `..`, `.`, an empty segment, a backslash or a control character.
    """
    if not isinstance(value, str):
        raise BadInput(f"{field} must be text, not {type(value).__name__}")
    key = value.removesuffix("/")
    shown = repr(value if len(value) <= 80 else value[:77] + "...")
    if not key:
        raise BadInput(f"{field} is empty")
    if len(key.encode("utf-8", "surrogatepass")) > _MAX_KEY_BYTES:
        raise BadInput(f"{field} is longer than {_MAX_KEY_BYTES} bytes: {shown}")
    if key.startswith("/"):
        raise BadInput(f"{field} must be a key inside the bucket, not an absolute path: {shown}")
    if not key.isprintable() or "\\" in key:
        raise BadInput(f"{field} holds a control character or a backslash: {shown}")
    if any(part in {"", ".", ".."} for part in key.split("/")):
        raise BadInput(f"{field} has an empty, '.' or '..' segment: {shown}")
    return key


def checked_prefix(value: str, field: str) -> str:
    """Return `value` if it is a folder of a bucket as `checked_key` takes it, or "", the bucket's root.

    Raises:
        BadInput: it is neither.
    """
    return "" if isinstance(value, str) and not value else checked_key(value, field)


def checked_bucket(value: str, field: str) -> str:
    """Return `value` if S3 would take it as a bucket's name (3-63 of a-z, 0-9, dot, hyphen).

    Raises:
        BadInput: it would not.
    """
    if not isinstance(value, str) or not _BUCKET.fullmatch(value) or ".." in value:
        raise BadInput(f"{field} must be a bucket name of 3 to 63 characters a-z 0-9 . -: {value!r:.80}")
    return value


def natural_order(key: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which `2.pt` comes before `10.pt`.

    >>> sorted(["10.pt", "2.pt", "1.pt"], key=natural_order)
    ['1.pt', '2.pt', '10.pt']
    """
    return tuple(
        (0, int(part)) if part.isdigit() and part.isascii() else (1, part)
        for part in re.split(r"([0-9]+)", key)
        if part
    )


def calibration_key(model: str) -> str:
    """Where the calibration of a model lies: beside its weights.

    >>> calibration_key("models/full.safetensors")
    'models/full.calibration.json'
    """
    return f"{model.removesuffix('.safetensors')}.calibration.json"

"""JSON from outside: one parser for every entry point."""

import json
from collections.abc import Sequence
from typing import Any

from inference.contract.validation import shorten
from inference.errors import BadInput, CosmicError

MAX_DEPTH = 100  # levels of lists and objects; no document of the project has more than ten


def parse_json(data: bytes | str, name: str, error: type[CosmicError] = BadInput) -> Any:
    """Parse a JSON document that may be damaged, hostile or ambiguous.

    NaN and the infinities are accepted, because Python's own writer and old records use them.

    Args:
        data: the text, or its bytes in UTF-8, UTF-16 or UTF-32.
        name: of the document, for the message.
        error: the class to raise.

    Returns:
        The document: at most MAX_DEPTH levels deep, no key of an object named twice.

    Raises:
        BadInput: or `error`: one sentence that begins with the name.

    Example:
        >>> parse_json('{"rank": 3}', "0.json")
        {'rank': 3}
        >>> parse_json('{"rank": 3, "rank": 4}', "0.json")
        Traceback (most recent call last):
        ...
        inference.errors.BadInput: 0.json names the key 'rank' twice
    """

    def without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) < len(pairs):
            raise error(f"{name} names the key {duplicate([key for key, _ in pairs])} twice")
        return document

    try:
        document = json.loads(data, object_pairs_hook=without_duplicates)
    except RecursionError:
        raise error(_too_deep(name)) from None
    except ValueError as problem:
        raise error(f"{name} is not JSON: {str(problem).splitlines()[0]}") from None
    if _is_deep(document):
        raise error(_too_deep(name))
    return document


def duplicate(keys: Sequence[object]) -> str:
    """The first key that stands twice in a list, as a message shows it."""
    seen: set[object] = set()
    return next(shorten(key) for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _too_deep(name: str) -> str:
    return f"{name} is nested more than {MAX_DEPTH} levels deep"


def _is_deep(document: Any) -> bool:
    """Whether the document has more than MAX_DEPTH levels, found level by level and not by recursion."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True

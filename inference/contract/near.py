"""What a word from outside was probably meant to be."""

import difflib
import itertools
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel

_ENTRIES = 1_000  # of a folder that are looked at


def near(word: str, known: Iterable[str]) -> str:
    """A question that names what was probably meant, to follow a sentence; "" where nothing is near.

    >>> near("summarise", ["summarize", "simulate"])
    ' (did you mean summarize?)'
    >>> near("xyz", ["run"])
    ''
    """
    found = difflib.get_close_matches(word[:80], known, n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""


def near_key(model: "type[BaseModel]", place: Sequence[object]) -> str:
    """Such a question about a key that a document lacks in its model.

    Args:
        model: of the whole document.
        place: the names that lead to the key, as Pydantic's errors have them, the key last.
    """
    from pydantic import BaseModel

    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        within = () if field is None else (field.annotation, *get_args(field.annotation))
        inner = next((each for each in within if isinstance(each, type) and issubclass(each, BaseModel)), None)
        if inner is None:
            return ""
        model = inner
    return near(str(place[-1]), [field.alias or name for name, field in model.model_fields.items()])


def near_file(path: Path) -> str:
    """Such a question about a file that is not there, from the names of those beside it."""
    beside: list[str] = []
    with suppress(OSError):
        beside = [each.name for each in itertools.islice(path.parent.iterdir(), _ENTRIES)]
    return near(path.name, [name for name in beside if name.isprintable()])

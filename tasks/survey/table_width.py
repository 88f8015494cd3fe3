"""How many columns a table may have, asked before a library makes an object of each."""

from pathlib import Path

from inference.errors import BadInput

MOST_COLUMNS = 10_000


class TooWide(BadInput):
    """A table of more columns than are read, found before any of them was."""


def check_width(path: Path | str, columns: int) -> None:
    """Refuse a table of too many columns, before a library makes an object of each.

    Raises:
        TooWide: naming the file, how many it has and the limit.
    """
    if columns > MOST_COLUMNS:
        raise TooWide(f"{path} has {columns:,} columns; {MOST_COLUMNS:,} is the limit")

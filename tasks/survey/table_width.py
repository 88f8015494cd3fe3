"""How large a table may be, asked before a library makes an object of each column; no two columns have one name."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from inference.errors import BadInput

MOST_COLUMNS = 10_000
_MOST_ROWS = 50_000_000
_MUCH, _DENSEST = 400_000_000, 100  # bytes in memory, and how many of them a byte of a file may stand for


class TooWide(BadInput):
    """A table of more columns than are read, found before any of them was."""


def check_width(path: Path | str, columns: int) -> None:
    """Refuse a table of too many columns, before a library makes an object of each.

    Raises:
        TooWide: naming the file, how many it has and the limit.
    """
    if columns > MOST_COLUMNS:
        raise TooWide(f"{path} has {columns:,} columns; {MOST_COLUMNS:,} is the limit")


def check_length(path: Path | str, rows: int) -> None:
    """Refuse a table of too many rows.

    Raises:
        BadInput: naming the file, how many it has and the limit.
    """
    if rows > _MOST_ROWS:
        raise BadInput(f"{path} has {rows:,} rows; {_MOST_ROWS:,} is the limit")


def check_unfolded(path: Path | str, there: int, held: int) -> None:
    """Refuse what is small in a file and fills the memory, as a file made for that, and no measurement, does.

    Args:
        path: names it in the message.
        there: bytes that it would take in memory, as far as that is known.
        held: bytes of the file.

    Raises:
        BadInput: naming the file and both.
    """
    if there > _MUCH and there > _DENSEST * held:
        raise BadInput(
            f"{path} holds {held / 1e6:,.1f} MB that would unfold to {there / 1e6:,.0f} MB or more, as no measurements"
            " do: it is damaged, or made to fill a memory"
        )


def refuse_twins(path: Path | str, names: Iterable[str]) -> None:
    """Refuse two columns of one name, and more columns than any table has.

    Raises:
        BadInput: naming the file.
    """
    counts = Counter(names)
    check_width(path, counts.total())
    twins = [name for name, count in counts.items() if count > 1]
    if twins:
        raise BadInput(f"{path} has two columns called {twins[0]!r:.60}")

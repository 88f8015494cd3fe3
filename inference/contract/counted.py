"""Counts and lists as people read them."""

import re
from collections.abc import Iterable


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun in singular or plural.

    >>> counted(1, "rank"), counted(1200, "rank"), counted(2, "galaxy")
    ('1 rank', '1,200 ranks', '2 galaxies')
    """
    return f"{count:,} {noun if count == 1 else plural or re.sub('(?<![aeiou])y$', 'ie', noun) + 's'}"


def listed(names: Iterable[str], most: int = 10, joint: str = ", ") -> str:
    """Names in one line, the first of many.

    >>> listed(["a", "b", "c"], most=1), listed(["row 1: bad", "row 4: bad"], most=1, joint="; ")
    ('a and 2 more', 'row 1: bad; and 1 more')
    """
    names = list(names)
    rest = len(names) - most
    before = "; and" if joint == "; " else " and"
    return joint.join(names[:most]) + (f"{before} {rest:,} more" if rest > 0 else "")

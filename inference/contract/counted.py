"""A count with its noun, as people read it."""

import re


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun in singular or plural.

    >>> counted(1, "rank"), counted(1200, "rank"), counted(2, "galaxy")
    ('1 rank', '1,200 ranks', '2 galaxies')
    """
    return f"{count:,} {noun if count == 1 else plural or re.sub('(?<![aeiou])y$', 'ie', noun) + 's'}"

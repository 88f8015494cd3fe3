"""Whether records cover all ranks of a run, by their files alone: files are assigned to ranks round robin."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from inference.contract.object_keys import natural_order

_MOST_FILES = 10**6
_NUMBERED = re.compile(r"(.*?)([0-9]+)(\.[^/.]*)")


def is_round_robin(paths: Sequence[str]) -> bool:
    """Whether these are the files of ranks 0, 1, ... without a gap (contract, "Rank assignment").

    The files must be numbered from 0 or 1. A rank that is missing at the end leaves no gap and is not noticed.

    Args:
        paths: the first file of each rank, in any order.

    >>> is_round_robin(["a/1.pt", "a/2.pt", "a/1.pt"]), is_round_robin(["a/1.pt", "a/2.pt", "a/2.pt"])
    (True, False)

    The replaced system listed files as text, 10 before 2.

    >>> is_round_robin(["a/1.pt", "a/10.pt"]), is_round_robin(["a/1.pt", "a/3.pt"])
    (True, False)
    """
    counts = Counter(paths)
    fewest, most = min(counts.values(), default=0), max(counts.values(), default=0)
    if most - fewest > 1:
        return False
    if most == 1:
        return any(_begins(counts, order) for order in (natural_order, str))
    ahead = {path for path, count in counts.items() if count == most} if most > fewest else set()
    orders = (sorted(counts, key=natural_order), sorted(counts))
    return _begins(counts, natural_order) and any(set(order[: len(ahead)]) == ahead for order in orders)


def _begins(paths: Counter[str], order: Callable[[str], Any]) -> bool:
    """Whether the files are the first ones of such a listing."""
    names = [_NUMBERED.fullmatch(path) for path in paths]
    matches = [name for name in names if name is not None]
    if len(matches) < len(names) or len({(name[1], name[3]) for name in matches}) != 1:
        return False
    numbers = {int(name[2]) for name in matches}
    if max(numbers) > _MOST_FILES:
        return False
    listing = [f"{matches[0][1]}{number}{matches[0][3]}" for number in range(min(min(numbers), 1), max(numbers) + 1)]
    return set(sorted(listing, key=order)[: len(paths)]) == set(paths)

"""Which late ranks get backups: a pure function of counts and times."""

import math
from collections.abc import Mapping, Sequence

# When a rank is late, and what is done about it (docs/decisions/0012).
ENOUGH_DONE, LEAST_DONE = 0.95, 4  # of the ranks, before the others' times tell anything
LATE = 1.4  # times the median of the ranks that are done
COPIES = 2  # backups of a late rank: one in twenty is as slow as the rank itself
MOST_COPIES = 0.10  # of the ranks, in all: a backup is billed, whoever wins


def late_after(ranks: int, times: Sequence[float]) -> float | None:
    """Seconds after which a rank that still runs is late; None while the others' times tell nothing yet.

    Args:
        ranks: of the run.
        times: seconds that each rank took that is done, in ascending order: it is asked some twenty times a second.
    """
    left = ranks - len(times)
    if len(times) < LEAST_DONE or left > max(1, math.floor((1 - ENOUGH_DONE) * ranks + 1e-9)):
        return None
    return LATE * (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2


def backups(ranks: int, times: Sequence[float], running: Mapping[int, float], made: int) -> dict[int, int]:
    """How many backups each late rank is to get now.

    Nobody is late until all ranks but one in twenty (or one) are done; then whoever has run longer than 1.4 times their
    median is. Backups are at most a tenth of the ranks, or one; where they do not suffice for all, the slowest
    ranks get theirs first.

    >>> backups(20, [1.0] * 19, {19: 1.3}, 0)  # rank 19 has not yet run longer than 1.4 times the median
    {}
    >>> backups(20, [1.0] * 19, {19: 1.5}, 0)
    {19: 2}

    Args:
        ranks: of the run.
        times: seconds that each rank took that is done, in ascending order.
        running: seconds that each rank has been running that is not done and has no backup yet.
        made: backups made so far.
    """
    limit = late_after(ranks, times)
    if limit is None:
        return {}
    late = sorted((rank for rank, seconds in running.items() if seconds > limit), key=running.__getitem__, reverse=True)
    room = max(1, math.floor(MOST_COPIES * ranks + 1e-9)) - made
    each = min(COPIES, max(room // max(len(late), 1), 1))
    return dict.fromkeys(late[: max(room // each, 0)], each)

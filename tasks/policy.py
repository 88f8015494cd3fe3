"""Retry, grouping, backups and tolerated failures: pure functions of counts and times."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.schemas.objects import State

from inference.errors import BadInput, BadPartition

RANK_RETRIES = 2
RANK_RETRY_DELAYS_S = [0.5, 2.0]  # jitter of the same size is added
STEP_RETRIES = 2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 20.0
MAX_TASK_RUNS = 256  # one task run a rank up to here (docs/decisions/0003)
GROUPS = 32  # task runs beyond
# When a rank is late, and what is done about it (docs/decisions/0012).
ENOUGH_DONE, LEAST_DONE = 0.95, 4  # of the ranks, before the others' times tell anything
LATE = 1.4  # times the median of the ranks that are done
COPIES = 2  # backups of a late rank: one in twenty is as slow as the rank itself
MOST_COPIES = 0.10  # of the ranks, in all: a backup is billed, whoever wins


def full_jitter(refusals: int, chance: float) -> float:
    """Seconds to wait after so many refusals in a row: anything up to a bound that doubles, 0.2 s to 20 s.

    Args:
        refusals: 1 after the first.
        chance: 0 to 1, drawn anew each time ("full jitter", AWS Architecture Blog, 2015), so that ranks that were
            refused together do not come back together.
    """
    return chance * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(refusals - 1, 30))


def ranks_per_task(world_size: int, asked: int | None = None) -> int:
    """How many ranks one task run should run: 1 while each can be shown by itself, else about 32 equal groups."""
    if asked is not None:
        return min(asked, world_size)
    return 1 if world_size <= MAX_TASK_RUNS else -(-world_size // GROUPS)


def worth_retrying(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether another try may help: wrong input fails the same way every time."""
    error = state.result(raise_on_failure=False)
    return getattr(error, "retryable", not isinstance(error, BadInput | BadPartition))


def backups(ranks: int, times: Sequence[float], running: Mapping[int, float], made: int) -> dict[int, int]:
    """How many backups each late rank is to get now.

    Nobody is late until all ranks but one in twenty (or one) are done; then whoever has run longer than 1.4 times their
    median is. Backups are at most a tenth of the ranks, or one; where they do not suffice for all, the slowest
    ranks get theirs first.

    Args:
        ranks: of the run.
        times: seconds that each rank took that is done.
        running: seconds that each rank has been running that is not done and has no backup yet.
        made: backups made so far.
    """
    left = ranks - len(times)
    if len(times) < LEAST_DONE or left > max(1, math.floor((1 - ENOUGH_DONE) * ranks + 1e-9)):
        return {}
    limit = LATE * statistics.median(times)
    late = sorted((rank for rank, seconds in running.items() if seconds > limit), key=running.__getitem__, reverse=True)
    room = max(1, math.floor(MOST_COPIES * ranks + 1e-9)) - made
    each = min(COPIES, max(room // max(len(late), 1), 1))
    return dict.fromkeys(late[: max(room // each, 0)], each)


def exceeded(failed: int, ranks: int, percentage: float | None, count: int | None) -> str | None:
    """Which limit so many failed ranks exceed, as a clause; None if they are tolerated, or no limit is given.

    As in a distributed map of Step Functions: either limit may be given, or both, and exceeding one suffices.

    Args:
        failed: ranks that were given up.
        ranks: of the run.
        percentage: `tolerated_failure_percentage`, 0 to 100.
        count: `tolerated_failure_count`.
    """
    if count is not None and failed > count:
        return f"{failed} failed ranks are more than the {count} tolerated (tolerated_failure_count)"
    if percentage is not None and 100 * failed > percentage * ranks:
        share = f"{100 * failed / ranks:.3g} %"
        return f"{share} of the ranks failed, more than the {percentage:g} % tolerated (tolerated_failure_percentage)"
    return None

"""How many ranks one Prefect task run runs, and how many task runs there are at once."""

from tasks.executors.base import Executor

MAX_TASK_RUNS = 256  # one task run for each rank up to here (docs/decisions/0003)
GROUPS = 32  # task runs beyond


def ranks_per_task(world_size: int, asked: int | None = None) -> int:
    """How many ranks one task run runs: 1 while each can be shown by itself, else about 32 equal groups.

    >>> ranks_per_task(256), ranks_per_task(10_000), ranks_per_task(10_000, asked=50)
    (1, 313, 50)
    """
    if asked is not None:
        return min(asked, world_size)
    return 1 if world_size <= MAX_TASK_RUNS else -(-world_size // GROUPS)


def side_by_side(task_runs: int, executor: Executor) -> int:
    """How many of the task runs are open at once: all, where more workers may come while they run."""
    return task_runs if executor.elastic else min(task_runs, executor.concurrency)

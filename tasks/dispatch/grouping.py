"""How many ranks one Prefect task run runs."""

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

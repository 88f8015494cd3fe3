"""How often a task run is tried again, and how many ranks one task run takes."""

from typing import Any

from prefect.client.schemas.objects import State

from inference.errors import BadInput, BadPartition

RANK_RETRY_DELAYS_S = [0.5, 2.0]  # jitter of the same size is added
STEP_RETRIES = 2
MAX_TASK_RUNS = 256  # one task run for each rank up to here (docs/decisions/0003)
GROUPS = 32  # task runs beyond


def ranks_per_task(world_size: int, asked: int | None = None) -> int:
    """How many ranks one task run should run: 1 while each can be shown by itself, else about 32 equal groups."""
    if asked is not None:
        return min(asked, world_size)
    return 1 if world_size <= MAX_TASK_RUNS else -(-world_size // GROUPS)


def worth_retrying(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether another try may help: wrong input fails the same way every time."""
    error = state.result(raise_on_failure=False)
    return getattr(error, "retryable", not isinstance(error, BadInput | BadPartition))

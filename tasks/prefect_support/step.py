"""The decorator of every step: a Prefect task with this project's retries; and how a step is given what is large."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.tasks import MaterializingTask
from prefect.utilities.annotations import opaque

from inference.errors import BadInput, BadPartition

RETRIES = 2
_P = ParamSpec("_P")
_R = TypeVar("_R")


def step(name: str, **options: Any) -> Callable[[Callable[_P, _R]], Task[_P, _R]]:
    """Make a function a Prefect task that is retried where another attempt may help, and never cached.

    A cached step would give a retried flow run the plan of its first attempt, under
    PREFECT_RESULTS_PERSIST_BY_DEFAULT, although the store has changed since.

    Args:
        name: of the task.
        options: of `prefect.task`, laid over this project's own.
    """
    return task(name=name, **({"task_run_name": name} | _ours() | options))


def making_step(name: str) -> Callable[[Callable[_P, _R]], MaterializingTask[_P, _R]]:
    """Make a function such a step that makes assets, of which `tasks.prefect_support.assets.making` tells it."""
    return lambda function: MaterializingTask(function, assets=[], name=name, task_run_name=name, **_ours())


def whole(value: _R) -> _R:
    """An argument of a step that Prefect takes as one thing: it still draws the edge from the step that made it.

    Of any other argument it looks at every item in it, twice a step, which takes most of the time of a run of ten
    thousand ranks.
    """
    return cast(_R, opaque(value))


def _ours() -> dict[str, Any]:
    return {
        "retries": RETRIES,
        "retry_delay_seconds": 1,
        "retry_condition_fn": worth_retrying,
        "cache_policy": NO_CACHE,
    }


def worth_retrying(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether another attempt may help: wrong input fails the same way every time."""
    error = state.result(raise_on_failure=False)
    return getattr(error, "retryable", not isinstance(error, BadInput | BadPartition))

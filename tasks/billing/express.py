"""EXPRESS child executions of a map: what AWS bills for them beside the function, as far as it can be known."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.contract.validation import checked_int, is_number, shorten
from inference.errors import BadInput
from tasks.invocations.invocation import Invocation

MEMORY_MB = 64  # the least that is billed, and what an execution of one state and a small input has
STEP_S = 0.1  # durations are billed in steps of 100 ms, memory in steps of 64 MB (Step Functions pricing)


@dataclass(frozen=True)
class Express:
    """EXPRESS executions of a run.

    Attributes:
        requests: how many were started.
        gb_s: their time in steps of 100 ms, each with MEMORY_MB.
        how: whose time that is.
    """

    requests: int = 0
    gb_s: float = 0.0
    how: str = "counted"


def express_of(executions: Iterable[Mapping[str, Any]], invocations: Sequence[Invocation]) -> Express:
    """What the EXPRESS children of a run's executions come to.

    Args:
        executions: as the run keeps them (`tasks.invocations.stored.load_executions`): `children`, `items`,
            `item_seconds`.
        invocations: of the run; a child whose time is not known counts as long as they took in the mean.

    Raises:
        BadInput: a kept execution is damaged.
    """
    express = [each for each in executions if each.get("children") == "EXPRESS"]
    requests = sum(_started(each) for each in express)
    seconds = [_seconds(value) for each in express for value in _of(each, "item_seconds", list)][:requests]
    unknown = requests - len(seconds)
    mean = math.fsum(call.ended_at - call.started_at for call in invocations) / len(invocations) if invocations else 0.0
    total = math.fsum(map(_in_steps, seconds)) + unknown * _in_steps(max(mean, 0.0))
    whose = "of the children" if not unknown else f"of the children, {unknown} of them as long as the mean invocation"
    return Express(requests, total * MEMORY_MB / 1024, f"estimate: time {whose}, {MEMORY_MB} MB each")


def _started(execution: Mapping[str, Any]) -> int:
    items = _of(execution, "items", dict)
    total, pending = (checked_int(items.get(name, 0), f"items.{name}", 0, 10**9) for name in ("total", "pending"))
    return max(total - pending, 0)


def _of(execution: Mapping[str, Any], field: str, kind: type) -> Any:
    value = execution.get(field) or kind()
    if not isinstance(value, list | tuple if kind is list else kind):
        raise BadInput(f"{field} of a kept execution is damaged: {shorten(value, 40)}")
    return value


def _seconds(value: object) -> float:
    if not is_number(value, 0):
        raise BadInput(f"item_seconds of a kept execution must be seconds, not {shorten(value, 40)}")
    return float(value)


def _in_steps(seconds: float) -> float:
    return math.ceil(round(seconds / STEP_S, 6)) * STEP_S

"""Ranks whose workers' clocks are wrong, put where the caller saw them run."""

import dataclasses
from collections.abc import Iterable, Sequence

from inference.contract.counted import listed
from inference.contract.rank_result import RankResult
from tasks.invocations.invocation import Invocation

TOLERANCE_S = 5.0  # what clocks that are kept right may differ by, with a margin


def correct_clock_skew(
    results: Sequence[RankResult], invocations: Iterable[Invocation]
) -> tuple[tuple[RankResult, ...], list[str]]:
    """The results with their times by the caller's clock, where a worker's own is off; and a note that says so.

    A rank starts while the caller waits for the attempt that made it. One that says otherwise by more than TOLERANCE_S
    has a wrong clock, and its start is set to when the call was sent; its durations are its own. Of attempts that the
    caller knows nothing of, such as a state machine's, nothing can be said.
    """
    calls: dict[tuple[int, int], tuple[float, float]] = {}
    for call in invocations:
        began, ended = calls.get((call.rank, call.attempt), (call.started_at, call.ended_at))
        calls[call.rank, call.attempt] = min(began, call.started_at), max(ended, call.ended_at)
    placed, off = [], {}
    for result in results:
        began, ended = calls.get((result.rank, result.attempt), (result.started_at, result.started_at))
        if not began - TOLERANCE_S <= result.started_at <= ended + TOLERANCE_S:
            off[result.rank] = result.started_at - began
            lasted = max(result.ended_at - result.started_at, 0.0)
            result = dataclasses.replace(result, started_at=began, ended_at=began + lasted)
        placed.append(result)
    return tuple(placed), [_describe(off)] if off else []


def _describe(off: dict[int, float]) -> str:
    ranks = listed(map(str, off), most=10)
    worst = max(off.values(), key=abs)
    return (
        f"the worker's clock of rank{'s' if len(off) > 1 else ''} {ranks} is off by up to {abs(worst):,.0f} s: the rank"
        " is placed in time by when its call was sent"
    )

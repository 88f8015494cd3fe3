"""What a sweep comes to, beyond its tables: failures, the fastest cell, the bottleneck and a recommendation."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tasks.reporting.formatting import number, usd
from tasks.sweeps.cells import AXES, Cell, Measurement, comparable_cells, groups_along, varying
from tasks.sweeps.run_metrics import REST, STAGES, ranks_of_run, shares
from tasks.sweeps.statistics import mean_interval, ratio_interval

UNKNOWN = "one run of each does not show the noise"
_DOING = {
    "load": "loading the engine",
    "read": "reading",
    "compute": "computing",
    "write": "writing",
    REST: "waiting or at work that no stage accounts for",
}


def findings_of(cells: Sequence[Cell]) -> list[str]:
    """The findings, each a sentence, the recommendation last.

    Args:
        cells: of a sweep (`tasks.sweeps.cells.cells_of`).
    """
    whole = [cell for cell in cells if cell.runs]
    found = [*_failures(cells), *_fastest(comparable_cells(whole))]
    for label, group in groups_along(whole, *(axis for axis in AXES if axis != "executor")).items():
        found += _bottleneck(group, f"On {label}, " if "executor" in varying(whole) else "")
    return [*found, *_recommendation(whole)]


def _failures(cells: Sequence[Cell]) -> Iterator[str]:
    failed = sum(len(cell.failed) for cell in cells)
    if failed:
        count = sum(len(cell.runs) for cell in cells) + failed
        yield f"{failed} of {count} runs failed; tables, plots and findings leave them out."


def _fastest(cells: Sequence[Cell]) -> Iterator[str]:
    ranked = _ranked(cells, lambda run: run.figures.get("samples_per_s"))[::-1]
    if len(ranked) > 1:
        best, rates = ranked[0]
        rate = number(math.fsum(rates) / len(rates), "samples/s")
        yield f"Fastest: {best.label(varying(cells))} with {rate}{_lead(ranked, varying(cells), 'as fast as')}"


def recommendation_of(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """The cell whose product of time, memory and cost is the smallest, and how sure that is.

    Args:
        cells: of a sweep (`tasks.sweeps.cells.cells_of`).

    Returns:
        `cell` (its label), `makespan_s`, `samples_per_s`, `peak_memory_mb`, `usd` (means of its runs), `confidence`
        ("beyond the noise", "a tie" or "not known") and `why`, a clause; None where there is no choice.
    """
    compared = comparable_cells([cell for cell in cells if cell.runs])
    ranked = _ranked(compared, _product)
    if len(ranked) < 2:
        return None
    best, values = ranked[0]
    ratio = ratio_interval(ranked[1][1], values)
    sure = "not known" if ratio.low is None else "beyond the noise" if ratio.exceeds_noise else "a tie"
    names = varying(compared)
    return {
        "cell": best.label(names),
        **{key: best.mean(key) for key in ("makespan_s", "samples_per_s", "peak_memory_mb", "usd")},
        "confidence": sure,
        "why": f"smallest product of time, memory and cost a sample{_lead(ranked, names, 'smaller than that of')}",
    }


def _recommendation(cells: Sequence[Cell]) -> Iterator[str]:
    found = recommendation_of(cells)
    if found is not None:
        figures = number(found["makespan_s"], "s"), number(found["peak_memory_mb"], "MB a rank"), usd(found["usd"])
        yield f"Recommended: {found['cell']} ({', '.join(figures)}), which has the {found['why']}"


def _product(run: Measurement) -> float | None:
    """Time, memory and cost of a run in one number; time and cost a sample, since cells may read a little more."""
    figures = run.figures
    parts = [figures.get(name) for name in ("samples_per_s", "peak_memory_mb", "usd_per_million")]
    if not all(parts):
        return None
    rate, memory, cost = (float(part or 0.0) for part in parts)
    return memory * cost / rate


def _ranked(cells: Sequence[Cell], value: Callable[[Measurement], float | None]) -> list[tuple[Cell, list[float]]]:
    """Cells with a figure of each of their runs, the smallest mean first."""
    known = [(cell, [found for run in cell.runs if (found := value(run)) is not None]) for cell in cells]
    return sorted((pair for pair in known if pair[1]), key=lambda pair: math.fsum(pair[1]) / len(pair[1]))


def _lead(ranked: Sequence[tuple[Cell, list[float]]], names: Sequence[str], words: str) -> str:
    """By how much the first leads, or which others equal it within the noise: the end of a sentence."""
    (_, best), (second, next_best) = ranked[:2]
    ratio = max((ratio_interval(*pair) for pair in ((best, next_best), (next_best, best))), key=lambda each: each.ratio)
    times = f"{number(ratio.ratio)} times {words} the next, {second.label(names)}"
    if ratio.low is None:
        return f", {times}, but {UNKNOWN}."
    if ratio.exceeds_noise:
        return f", {times} (95 % interval {number(ratio.low)} to {number(ratio.high)})."
    equal = [cell.label(names) for cell, values in ranked[1:] if not ratio_interval(best, values).exceeds_noise]
    listed = equal[0] if len(equal) == 1 else f"{len(equal)} others, {second.label(names)} first,"
    return f"; {listed} {'does' if len(equal) == 1 else 'do'} not differ from it beyond the noise."


def _bottleneck(cells: Sequence[Cell], where: str) -> Iterator[str]:
    """Where warm ranks spend most of their time; cold ranks where there are no warm ones."""
    runs = [run for cell in cells for run in cell.runs]
    kind, of_runs = next(
        ((kind, found) for kind, cold in (("warm", False), ("cold", True)) if (found := _shares(runs, cold))), ("", [])
    )
    if not of_runs:
        return
    means = {stage: math.fsum(run[stage] for run in of_runs) / len(of_runs) for stage in (*STAGES, REST)}
    first, second = sorted(means, key=lambda stage: means[stage], reverse=True)[:2]
    gap = mean_interval([run[first] - run[second] for run in of_runs])
    text = (
        f"{where}{kind} ranks spend {means[first]:.0%} of their wall time {_DOING[first]} and"
        f" {means[second]:.0%} {_DOING[second]}"
    )
    if gap.low is None:
        text += f", but {UNKNOWN}."
    elif gap.low > 0:
        text += f": {_DOING[first]} is the bottleneck."
    else:
        text += ", which do not differ beyond the noise."
    yield text[:1].upper() + text[1:]


def _shares(runs: Sequence[Measurement], cold: bool) -> list[dict[str, float]]:
    """Shares of the stages in the ranks of each run that has such ranks."""
    chosen: list[list[Mapping[str, Any]]] = [
        [row for row in ranks_of_run(run.document) if row["cold"] == cold] for run in runs
    ]
    return [part for rows in chosen if (part := shares(rows))]

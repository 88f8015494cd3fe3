"""What a sweep's numbers say, in sentences that quote them, and only as far as they exceed the noise."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.reporting.formatting import number, usd
from tasks.sweeps.cells import AXES, Cell, Measurement, groups_along, told, varying
from tasks.sweeps.run_metrics import REST, STAGES, ranks_of_run, shares
from tasks.sweeps.statistics import mean_interval, ratio_interval

COMPARED = ("batch_size", "world_size", "memory_mb", "engine", "executor", "access", "format")
UNKNOWN = "but one run each does not tell the noise"
_STRAIGHT = 0.05  # share of a line's height within which cost is called linear
_LOAD_TOLD = 0.1  # share of a cold rank's time from which loading is worth a word
_STRAGGLER = 1.5  # times the median
_DOING = {
    "load": "loading the engine",
    "read": "reading",
    "compute": "computing",
    "write": "writing",
    REST: "waiting or at what no stage accounts for",
}


def findings_of(cells: Sequence[Cell]) -> list[str]:
    """The findings, most telling first, each a sentence or two.

    Args:
        cells: of a sweep (`tasks.sweeps.cells.cells_of`).
    """
    whole = [cell for cell in cells if cell.runs]
    axes = varying(whole)
    found = [*_failures(cells)]
    for axis in COMPARED:
        if axis in axes:
            found += _each(whole, axis, _fastest)
    if "partition_size" in axes:
        found += _each(whole, "partition_size", _balance)
    if "data_size" in axes:
        found += _each(whole, "data_size", _growth, most=4)
    for label, group in groups_along(whole, *(axis for axis in AXES if axis != "executor")).items():
        found += _bottleneck(group, f"On {label}, " if "executor" in axes else "")
    return found


def _failures(cells: Sequence[Cell]) -> Iterator[str]:
    failed = sum(len(cell.failed) for cell in cells)
    if failed:
        count = sum(len(cell.runs) for cell in cells) + failed
        yield f"{failed} of {count} runs failed; they count for nothing in tables, plots and findings."


def _each(
    cells: Sequence[Cell], axis: str, find: Callable[[list[Cell], str, str], str | None], most: int = 2
) -> Iterator[str]:
    """A finding for each group of cells that differ on one axis alone, or for the last where there are many groups."""
    groups = {label: group for label, group in groups_along(cells, axis).items() if len(group) > 1}
    told_of = dict(list(groups.items())[-1:]) if len(groups) > most else groups
    for label, group in told_of.items():
        where = f" ({label})" if len(groups) > 1 else ""
        sentence = find(group, axis, where)
        if sentence:
            rest = len(groups) - len(told_of)
            yield sentence + (f" The tables have the {rest} other combinations of what varies." if rest else "")


def _named(axis: str, cell: Cell) -> str:
    value = cell.axes.get(axis)
    if isinstance(value, int):
        return f"{value:,} MB" if axis == "memory_mb" else f"{value:,}"
    return told(axis, value)


def _interval(ratio: Any) -> str:
    return f"95 % interval {number(ratio.low)} to {number(ratio.high)}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _ranked(cells: Sequence[Cell], values: Callable[[Cell], list[float]]) -> list[tuple[Cell, list[float]]]:
    """Cells with a figure of each of their runs, the largest mean first."""
    known = [(cell, values(cell)) for cell in cells]
    return sorted(
        ((cell, numbers) for cell, numbers in known if numbers),
        key=lambda pair: math.fsum(pair[1]) / len(pair[1]),
        reverse=True,
    )


def _fastest(cells: list[Cell], axis: str, where: str) -> str | None:
    ranked = _ranked(cells, lambda cell: cell.values("samples_per_s"))
    if len(ranked) < 2:
        return None
    rates = [number(math.fsum(values) / len(values), "samples/s") for _, values in ranked]
    names = [_named(axis, cell) for cell, _ in ranked]
    what = f"{AXES[axis]}{where}"
    ratios = [ratio_interval(values, ranked[0][1]) for _, values in ranked[1:]]
    first, last = ratios[0], ratios[-1]
    if first.low is None or last.low is None:
        return f"{what}: {names[0]} was the fastest with {rates[0]}, {number(first.ratio)} times {names[1]}; {UNKNOWN}."
    if first.exceeds_noise:
        return (
            f"{what}: {names[0]} is the fastest with {rates[0]}, {number(first.ratio)} times ({_interval(first)}) the"
            f" next, {names[1]} with {rates[1]}."
        )
    if not last.exceeds_noise:
        return (
            f"{what} makes no difference beyond the noise: {names[0]}, the fastest with {rates[0]}, reaches"
            f" {number(last.ratio)} times ({_interval(last)}) what {names[-1]} does."
        )
    alike = [name for name, ratio in zip(names[1:], ratios, strict=True) if not ratio.exceeds_noise]
    return (
        f"{what}: {names[0]} is the fastest with {rates[0]}, though {_listed(alike)} cannot be told from it beyond the"
        f" noise; it reaches {number(last.ratio)} times ({_interval(last)}) what the slowest, {names[-1]}, does."
    )


def _product(run: Measurement) -> float | None:
    """Time, memory and cost of a run in one number; time and cost a sample, since cells may read a little more."""
    figures = run.figures
    parts = [figures.get("samples_per_s"), figures.get("peak_memory_mb"), figures.get("usd_per_million")]
    if not all(parts):
        return None
    rate, memory, cost = (float(part or 0.0) for part in parts)
    return memory * cost / rate


def _balance(cells: list[Cell], axis: str, where: str) -> str | None:
    products = _ranked(cells, lambda cell: [p for p in map(_product, cell.runs) if p is not None])[::-1]
    if len(products) < 2:
        return None
    (best, its), (second, other) = products[:2]
    ratio = ratio_interval(its, other)
    names = [_named(axis, cell) for cell in (best, second)]
    sums = [
        f"{number(cell.mean('makespan_s'), 's')}, {number(cell.mean('peak_memory_mb'), 'MB')} and"
        f" {usd(cell.mean('usd'))}"
        for cell in (best, second)
    ]
    if ratio.exceeds_noise:
        return (
            f"{AXES[axis]}{where}: {names[0]} balances time, memory and cost best, with {sums[0]}; the product of the"
            f" three, time and cost taken a sample, is {number(ratio.ratio)} times ({_interval(ratio)}) as large for"
            f" {names[1]}, the next, with {sums[1]}."
        )
    doubt = UNKNOWN if ratio.low is None else "but that does not exceed the noise"
    return (
        f"{AXES[axis]}{where}: {names[0]} with {sums[0]} has the smallest product of time, memory and cost, and"
        f" {names[1]} with {sums[1]} one {number(ratio.ratio)} times as large, {doubt}."
    )


def _growth(cells: list[Cell], axis: str, where: str) -> str | None:
    """Whether cost lies on a straight line over data size; each point weighs by its relative error."""
    known = [cell for cell in cells if cell.values("usd")]
    if len(known) < 3:
        return None
    points = [(run.gigabytes, run.figures["usd"]) for cell in known for run in cell.runs if "usd" in run.figures]
    x, y = np.array(points).T
    slope, fixed = np.polyfit(x, y, 1, w=1 / x)
    off: list[tuple[float, float | None, Cell]] = []
    for cell in known:
        mean = mean_interval(cell.values("usd"))
        line = slope * cell.runs[0].gigabytes + fixed
        half = None if mean.high is None else (mean.high - mean.mean) / abs(line)
        off.append(((mean.mean - line) / abs(line), half, cell))
    far, half, cell = max(off, key=lambda point: abs(point[0]))
    fit = f"{usd(slope)} a GB {'and' if fixed >= 0 else 'less'} {usd(abs(fixed))}"
    place = f"{_named(axis, cell)} lies {abs(far):.1%} {'above' if far > 0 else 'below'}"
    if half is None:
        return f"Cost against data size{where} is fitted by the line {fit}; {place} it, the furthest, {UNKNOWN}."
    if abs(far) <= half:
        return f"Cost grows linearly with data size{where}: {fit}; {place} that line, the furthest, within the noise."
    noise = f"more than the noise, its 95 % interval of ± {half:.1%}"
    if abs(far) <= _STRAIGHT:
        return (
            f"Cost grows linearly with data size{where} to within {_STRAIGHT:.0%}: {fit}; {place} that line, {noise}."
        )
    return f"Cost does not grow linearly with data size{where}: {place} the line of best fit, {fit}, {noise}."


def _bottleneck(cells: Sequence[Cell], where: str) -> Iterator[str]:
    runs = [run for cell in cells for run in cell.runs]
    kind, of_runs = _shares(runs, cold=False)
    if not of_runs:
        kind, of_runs = _shares(runs, cold=True)
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
        text += f", {UNKNOWN}."
    elif gap.low > 0:
        text += f": {_DOING[first]} is the bottleneck."
    else:
        text += ", which do not differ beyond the noise."
    yield _sentence(text)
    _, cold = _shares(runs, cold=True)
    load = math.fsum(run["load"] for run in cold) / len(cold) if cold else 0.0
    if load >= _LOAD_TOLD and kind == "warm":
        yield _sentence(f"{where}loading the engine takes {load:.0%} of a cold rank's wall time.")
    slow = [times for run in runs if (times := _slowest(run)) is not None]
    if slow and math.fsum(slow) / len(slow) >= _STRAGGLER:
        mean = math.fsum(slow) / len(slow)
        yield _sentence(
            f"{where}the slowest rank of a run takes {number(mean)} times the median rank's wall time, and the run"
            " waits for it."
        )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shares(runs: Sequence[Measurement], *, cold: bool) -> tuple[str, list[dict[str, float]]]:
    """Shares of the stages in the ranks of each run that has such ranks."""
    chosen: list[list[Mapping[str, Any]]] = [
        [row for row in ranks_of_run(run.document) if row["cold"] == cold] for run in runs
    ]
    return "cold" if cold else "warm", [part for rows in chosen if (part := shares(rows))]


def _slowest(run: Measurement) -> float | None:
    """The longest rank over the median one, of those that started alike, the larger number of them."""
    rows = ranks_of_run(run.document)
    warm = [row["wall_total_s"] for row in rows if not row["cold"]]
    cold = [row["wall_total_s"] for row in rows if row["cold"]]
    times = max((warm, cold), key=len)
    median = float(np.median(times)) if len(times) >= 4 else 0.0
    return max(times) / median if median > 0 else None

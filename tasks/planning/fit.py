"""A stage model fitted from earlier runs."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from inference.contract.validation import sanitize_text
from tasks.planning.history import PastRank, PastRun
from tasks.planning.stages import Line, StageModel

WEIGHTS = {  # of a run that differs in it from the planned one: those that weigh most count alone
    **dict.fromkeys(("executor", "model", "engine", "precision"), 0.0),
    "machine": 0.1,
    "workers": 0.5,
    "memory": 0.5,
    "batch size": 0.7,
}
SIMILAR = 0.3  # runs that weigh less are named where others count in their place
OTHER_MACHINE_SPREAD = 0.4  # of the logarithm of how much faster one machine is than another; a guess
MANY = 3  # ranks of a run, from which their spread is distinguished from the run's
LEAST_SPREAD = 0.02  # of what surrounds the makespan


def comparable_runs(runs: Sequence[PastRun], wanted: Mapping[str, Any]) -> tuple[list[PastRun], list[str]]:
    """The runs that tell most of a planned one, and notes on what was left out and on what these differ in.

    Args:
        runs: earlier ones.
        wanted: the planned run's kind (`PastRun.kind`); what it does not know (None) decides nothing.
    """
    weights = [math.prod(WEIGHTS[name] for name in differences(run, wanted)) for run in runs]
    most = max(weights, default=0.0)
    best = [run for run, weight in zip(runs, weights, strict=True) if weight == most > 0.0]
    left = [run for run, weight in zip(runs, weights, strict=True) if weight < min(most or 1.0, SIMILAR)]
    notes = []
    if left:
        notes.append(f"weighted out: {len(left)} of {len(runs)} earlier runs, another {_named(left, wanted)}")
    if best and most < 1.0:
        notes.append(
            f"no earlier run has the same {_named(best, wanted, ' and ')}: the prediction reaches beyond what was"
            f" measured, from runs of weight {most:.2g}"
        )
    return best, notes


def differences(run: PastRun, wanted: Mapping[str, Any]) -> list[str]:
    """In what a run differs from a planned one, of what decides how fast it is."""
    kind = run.kind
    return [name for name in WEIGHTS if wanted.get(name) is not None and kind.get(name) not in (None, wanted[name])]


def _named(runs: Sequence[PastRun], wanted: Mapping[str, Any], between: str = ", ") -> str:
    """What runs differ in, each with what they have of it."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name in differences(run, wanted):
            found.setdefault(name, set()).add(sanitize_text(f"{run.kind[name]!s:.24}"))
    return between.join(f"{name} ({' and '.join(sorted(values)[:2])})" for name, values in sorted(found.items()))


def line(points: Sequence[tuple[float, float]]) -> Line:
    """A straight line through the medians at each abscissa, without a negative part.

    >>> line([(100, 3.0), (100, 3.2), (200, 5.1), (200, 5.1)])
    Line(fixed=1.1, each=0.02)
    >>> line([(100, 3.0)])
    Line(fixed=0.0, each=0.03)
    """
    groups: dict[float, list[float]] = {}
    for x, y in points:
        groups.setdefault(x, []).append(y)
    medians = sorted((x, median(values), len(values)) for x, values in groups.items())
    weight = sum(count for _, _, count in medians)
    mean_x = sum(x * count for x, _, count in medians) / weight
    mean_y = sum(y * count for _, y, count in medians) / weight
    wide = sum(count * (x - mean_x) ** 2 for x, _, count in medians)
    slope = sum(count * (x - mean_x) * (y - mean_y) for x, y, count in medians) / wide if wide else 0.0
    if wide <= (0.1 * mean_x) ** 2 * weight or slope < 0:  # too narrow to tell the two parts apart
        return Line(0.0, round(mean_y / mean_x, 12) if mean_x else 0.0)
    fixed = mean_y - slope * mean_x
    if fixed < 0:
        return Line(0.0, round(mean_y / mean_x, 12))
    return Line(round(fixed, 12), round(slope, 12))


def fit(
    runs: Sequence[PastRun], shipped: StageModel, processors: float, source: str, *, elsewhere: bool = False
) -> StageModel:
    """The model of runs of one kind.

    Args:
        runs: at least one.
        shipped: gives what the runs do not tell.
        processors: of a rank in these runs.
        source: where they come from, a sentence.
        elsewhere: they ran on another machine than the planned one, so that the whole run may be faster or slower.
    """
    ranks = [rank for run in runs for rank in run.ranks]
    cold = [rank for rank in ranks if rank.cold]
    stages = {
        name: line([(rank.samples, getattr(rank, name)) for rank in _warm_first(ranks)])
        for name in ("read", "compute", "write")
    }
    reply = median([max(rank.call_s - rank.total, 0.0) for rank in _warm_first(ranks)])
    rest = reply + median(
        [max(rank.total - rank.load - rank.read - rank.compute - rank.write, 0.0) for rank in _warm_first(ranks)]
    )
    shared, factors, luck = [], [], []
    for run in runs:
        ratios = [
            (rank.read + rank.compute + rank.write) / max(sum(part.at(rank.samples) for part in stages.values()), 1e-9)
            for rank in run.ranks
        ]
        middle = max(median(ratios), 1e-6)
        own = [ratio / middle for ratio in ratios]
        shared.append(math.log(middle))
        luck.append(_luck_of_median(own))
        factors += own
    whole = [run for run in runs if run.whole]
    around = [(len(run.ranks), max(run.end_to_end_s - run.makespan_s, 0.0)) for run in whole]
    around_line = _around(around) if around else shipped.around
    off = [math.log(max(y, 1e-3) / max(around_line.at(x), 1e-3)) for x, y in around]
    turns = tuple(tuple(max(gap - reply, 0.0) for gap in run.turns_s) for run in runs if run.turns_s)
    spacings = [spacing for run in runs if (spacing := run.spacing_s) is not None]
    puts, gets = (
        [count for run in whole if (count := run.a_rank(name)) is not None] for name in ("S3 PUT and LIST", "S3 GET")
    )
    return StageModel(
        source=source,
        runs=len(runs),
        processors=processors,
        parallel=shipped.parallel,
        start_s=tuple(max(rank.call_s - rank.total - rest, 0.0) for rank in cold) or shipped.start_s,
        load_s=tuple(rank.load for rank in cold) or shipped.load_s,
        **stages,
        rest_s=rest,
        factors=tuple(factors),
        run_spread=math.hypot(
            spread(shared, shipped.run_spread, fmean(luck)),
            OTHER_MACHINE_SPREAD * elsewhere,
        ),
        task_run_s=median(spacings) if spacings else 0.0 if turns else shipped.task_run_s,
        send_s=shipped.send_s,
        around=around_line,
        around_spread=max(spread(off, shipped.around_spread), LEAST_SPREAD),
        peak_mb=_peak(ranks),
        failure_rate=_failure_rate(runs),
        turns_s=turns or shipped.turns_s,
        s3_puts=median(puts) if puts else shipped.s3_puts,
        s3_gets=median(gets) if gets else shipped.s3_gets,
    )


def spread(logarithms: Sequence[float], shipped: float, luck: float = 0.0) -> float:
    """Standard deviation of the next run's value about the mean of those seen.

    The shipped spread counts as one more run: two or three runs that happen to agree prove little.

    >>> round(spread([], 0.2), 3), round(spread([0.0, 0.0], 0.2), 3), round(spread([0.1, -0.1] * 50, 0.2), 3)
    (0.2, 0.173, 0.102)
    >>> round(spread([0.1, -0.1] * 50, 0.2, 0.1**2), 3)
    0.025

    Args:
        logarithms: of the values seen.
        shipped: the spread where nothing was seen.
        luck: variance of a value seen that is no run's own, since it is the median of few ranks: these differ in
            every run, and are drawn one by one.
    """
    count = len(logarithms)
    if not count:
        return shipped
    mean = fmean(logarithms)
    squares = math.fsum((value - mean) ** 2 for value in logarithms) - (count - 1) * luck
    between = (shipped**2 + max(squares, 0.0)) / count
    return math.sqrt(between + (between + luck) / count)


def _luck_of_median(factors: Sequence[float]) -> float:
    """Variance of the logarithm of the median of so many ranks (asymptotic, pi / 2 times that of a mean)."""
    count = len(factors)
    if count < MANY:
        return 0.0
    logarithms = [math.log(max(factor, 1e-6)) for factor in factors]
    mean = fmean(logarithms)
    return math.pi / 2 * math.fsum((value - mean) ** 2 for value in logarithms) / (count - 1) / count


def _warm_first(ranks: Sequence[PastRank]) -> Sequence[PastRank]:
    return [rank for rank in ranks if not rank.cold] or ranks


def _around(points: Sequence[tuple[float, float]]) -> Line:
    """What surrounds the makespan does not vanish without ranks: where one size is known, all of it is fixed."""
    if len({x for x, _ in points}) == 1:
        return Line(median([y for _, y in points]), 0.0)
    fitted = line(points)
    return fitted if fitted.fixed else Line(median([y for _, y in points]), 0.0)


def _peak(ranks: Sequence[PastRank]) -> Line:
    tops: dict[int, float] = {}
    for rank in ranks:
        tops[rank.samples] = max(tops.get(rank.samples, 0.0), rank.peak_mb)
    if len(tops) == 1:
        return Line(next(iter(tops.values())), 0.0)
    return line(list(tops.items()))


def _failure_rate(runs: Sequence[PastRun]) -> float:
    """Attempts beyond the first, over all; a rank that took several failed each but the last."""
    rows = [row for run in runs for row in run.document["ranks"] if not row.get("resumed")]
    attempts = [int(row.get("attempt") or 1) for row in rows]
    return sum(attempt - 1 for attempt in attempts) / max(sum(attempts), 1)

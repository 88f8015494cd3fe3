"""Ranks over time, from the moment they were dispatched: who ran when, and how many at once."""

import html
from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from inference.contract.counted import counted
from tasks.reporting.figures import PALE, STAGES, STYLE, WARM, WIDTH, legend_above, svg_of
from tasks.reporting.formatting import seconds

BY_WORKER = 60  # more ranks than these stand in the rows of their workers, where there are fewer of those
BARS = 4_000  # ranks drawn: those of some rows where there are more, which a page of this width cannot show apart
MOMENTS = 2_000  # of the curve of ranks in flight
TITLED = 400  # bars that tell their figures, the longest; more of them would double the page


class _Drawn(NamedTuple):
    figure: Figure
    axes: Axes
    shown: pd.DataFrame  # the ranks drawn
    rows: np.ndarray  # of each
    origin: float  # of the seconds, since the epoch


def timeline(ranks: pd.DataFrame, dispatched_at: float | None = None) -> str:
    """Ranks over time as SVG, as `draw_timeline` draws them; each bar tells its figures under the pointer."""
    drawn = _draw(ranks, dispatched_at, whole=True)
    label = f"Timeline of {counted(len(drawn.shown), 'rank')}: start, end and stages of each"
    svg = svg_of(drawn.figure, "timeline", label)
    return svg.removesuffix("\n").removesuffix("</svg>") + _titles(drawn) + "</svg>"


def draw_timeline(ranks: pd.DataFrame, dispatched_at: float | None = None, *, whole: bool = True) -> Figure:
    """Ranks over time: a bar a rank from its start to its end, its stages in colour.

    The stages of a rank are laid one after the other with the seconds that each took in all; reading and computing
    really take turns. Ranks that were done before this run are left out, unless there are no others. More than
    `BY_WORKER` ranks stand in a row for each worker, with the number of ranks in flight below. Of more than `BARS`
    ranks some rows are drawn, evenly chosen, that of the longest rank among them; those in flight are of all.

    Args:
        ranks: rank, started_at and ended_at (seconds since the epoch), resumed, the wall seconds of the stages
            (wall_load_s, wall_read_s, wall_compute_s, wall_write_s), and worker where it is known; at least one row.
        dispatched_at: when the run began to hand out ranks, seconds since the epoch; where it is unknown, or a
            worker's clock is so far behind that a rank starts before it, time counts from the first start.
        whole: the ranks are all of a run, so that those in flight can be counted.
    """
    return _draw(ranks, dispatched_at, whole=whole).figure


def of_this_run(ranks: pd.DataFrame) -> pd.DataFrame:
    """The ranks that this run ran, or all where it found every one of them done."""
    ran = ranks[~ranks["resumed"].astype(bool)]
    return ranks if ran.empty else ran


def _draw(ranks: pd.DataFrame, dispatched_at: float | None, *, whole: bool) -> _Drawn:
    shown = of_this_run(ranks).sort_values("rank")
    started, ended = (shown[name].to_numpy(dtype=float) for name in ("started_at", "ended_at"))
    first = float(np.nanmin(started))
    queued = dispatched_at is not None and dispatched_at <= first and not shown["resumed"].any()
    origin = float(dispatched_at) if queued and dispatched_at is not None else first
    rows, by_worker = _rows(shown)
    drawn = _drawn(rows, ended - started)
    shown = shown.iloc[drawn]
    names, rows = np.unique(rows[drawn], return_inverse=True)
    names = names + 1 if by_worker else shown["rank"].to_numpy()
    height, count = float(np.clip(1.9 + 0.11 * len(names), 2.3, 5.3)), len(names)
    start, end = started[drawn] - origin, ended[drawn] - origin
    with mpl.rc_context(STYLE):
        if by_worker and whole:
            figure = Figure(figsize=(WIDTH, height + 1.2), layout="constrained")
            axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[height, 1.2])
            _draw_in_flight(below, started - origin, ended - origin)
        else:
            figure = Figure(figsize=(WIDTH, height), layout="constrained")
            axes = below = figure.add_subplot()
        half = 0.5 if count > 100 else 0.38  # without gaps where they would be thinner than a line
        # Not add_patch, which looks for limits, set below, along each side of each bar: 4 s for 12,000 ranks.
        axes.add_artist(_bars(start, end, rows, half, PALE, "other"))
        for column, (label, colour) in STAGES.items():
            end = start + shown[column].to_numpy(dtype=float)
            axes.add_artist(_bars(start, end, rows, half, colour, label))
            start = end
        axes.set_xlim(0, float(np.nanmax(ended)) - origin or 1.0)
        axes.set_ylim(count - 0.5 + 0.1, -0.6)
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000) if count <= 9 * step)
        axes.set_yticks(range(0, count, step), [str(name) for name in names[::step]])
        axes.set_ylabel("worker" if by_worker else "rank")
        below.set_xlabel("seconds since ranks were dispatched" if queued else "seconds since the first rank's start")
        handles, labels = axes.get_legend_handles_labels()
        order = [*range(1, len(handles)), 0]  # stages as they follow each other, the rest last
        legend_above(figure, [handles[n] for n in order], [labels[n] for n in order])
    return _Drawn(figure, axes, shown, rows, origin)


def _rows(shown: pd.DataFrame) -> tuple[np.ndarray, bool]:
    """The row of each rank, and whether rows are workers, in the order in which they began."""
    workers = shown.get("worker")
    if len(shown) <= BY_WORKER or workers is None or not 0 < workers.nunique() < len(shown) or (workers == "").any():
        return np.arange(len(shown)), False
    order = shown.sort_values("started_at")["worker"].unique()
    return workers.map({name: row for row, name in enumerate(order)}).to_numpy(dtype=int), True


def _drawn(rows: np.ndarray, lasted: np.ndarray) -> np.ndarray:
    """Places of the ranks drawn: of up to `BARS` all, else those of every so many rows, or of few long rows a part."""
    every = -(-len(rows) // BARS)
    drawn = (rows % every == 0) | (rows == rows[np.nan_to_num(lasted).argmax()])
    part = -(-int(drawn.sum()) // BARS)
    return np.flatnonzero(drawn)[::part]


def _draw_in_flight(axes: Axes, start: np.ndarray, end: np.ndarray) -> None:
    """How many ranks ran at each moment."""
    known = np.isfinite(start) & np.isfinite(end)
    begun, over = np.sort(start[known]), np.sort(end[known])
    moments = np.unique(np.concatenate([begun, over]))
    if len(moments) > MOMENTS:
        moments = np.linspace(moments[0], moments[-1], MOMENTS)
    count = np.searchsorted(begun, moments, "right") - np.searchsorted(over, moments, "right")
    axes.fill_between(moments, count, step="post", color=WARM, alpha=0.5, linewidth=0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("in flight")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def _titles(drawn: _Drawn) -> str:
    """A transparent rectangle over each bar, whose title a browser shows under the pointer."""
    figure, axes = drawn.figure, drawn.axes
    start, end = (drawn.shown[name].to_numpy(dtype=float) - drawn.origin for name in ("started_at", "ended_at"))
    titled = (start - end).argsort().argsort() < TITLED
    start, end, rows = start[titled], end[titled], drawn.rows[titled]
    corners = [np.column_stack([x, rows + side]) for x, side in ((start, -0.5), (end, 0.5))]
    upper, lower = (axes.transData.transform(each) * 72 / figure.dpi for each in corners)
    top = figure.get_figheight() * 72
    boxes = [
        f'<rect x="{x:.1f}" y="{top - y:.1f}" width="{max(right - x, 1):.1f}" height="{y - bottom:.1f}">'
        f"<title>{html.escape(_figures(row, at))}</title></rect>"
        for (x, y), (right, bottom), row, at in zip(
            upper, lower, drawn.shown[titled].to_dict("records"), start, strict=True
        )
        if np.isfinite([x, right]).all()
    ]
    return f'<g fill="transparent">{"".join(boxes)}</g>'


def _figures(row: Mapping[Any, Any], at: float) -> str:
    stages = ", ".join(
        f"{label} {seconds(row[column])}" for column, (label, _) in STAGES.items() if row[column] == row[column]
    )
    whole = f"rank {row['rank']}: {seconds(row['ended_at'] - row['started_at'])} s from {seconds(at)} s on ({stages})"
    galaxies = counted(int(row["samples"]), "galaxy") if "samples" in row else ""
    attempt = f"attempt {row['attempt']}" if "attempt" in row else ""
    return ", ".join(filter(None, (whole, galaxies, attempt, str(row.get("worker") or "")[:80])))


def _bars(start: np.ndarray, end: np.ndarray, rows: np.ndarray, half: float, colour: str, label: str) -> PathPatch:
    """Rectangles as one path: a thousand ranks stay a small document."""
    ends = np.fmax(end, start)
    corners = np.stack(
        [
            np.column_stack([x, rows + side])
            for x, side in ((start, -half), (ends, -half), (ends, half), (start, half), (start, -half))
        ],
        axis=1,
    )
    seen = np.isfinite(corners).all(axis=(1, 2)) & (ends > start)
    bar = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], Path.code_type)
    path = Path(corners[seen].reshape(-1, 2), np.tile(bar, int(seen.sum())) if seen.any() else None)
    return PathPatch(path, facecolor=colour, edgecolor="none", linewidth=0, label=label)

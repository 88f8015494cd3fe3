"""The plots of a sweep, each as SVG for a page and as PNG beside it.

Lines differ by marker, dash and lightness, so that the plots are read in grey and by the colour-blind.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from tasks.reporting.figures import STYLE, WARM, WIDTH, legend_above, svg_of
from tasks.reporting.timeline import draw_timeline
from tasks.sweeps.cells import AXES, Cell, format_axis_value, groups_along, megabytes, varying
from tasks.sweeps.pareto import draw_pareto
from tasks.sweeps.run_metrics import METRICS
from tasks.sweeps.statistics import mean_interval

DPI = 200  # 1,200 pixels wide
LINES = (
    (WARM, "o", "-"),
    ("#e69f00", "s", "--"),
    ("#10233c", "^", "-."),
    ("#5aa7d6", "D", ":"),
    ("#b3470b", "v", (0, (6, 2))),
    ("#7a8796", "P", (0, (3, 1, 1, 1, 1, 1))),
)
_RANKS_DRAWN = 1000  # in a timeline, so that the page stays small
_ASIDE = 2.5  # points between lines, so that one interval does not hide another
WIDE_X, WIDE_Y = 15.0, 20.0  # largest over smallest value from which an axis is logarithmic


@dataclass(frozen=True)
class Plot:
    """A plot, drawn when it is asked for: its name (of its files too), its title, and what it shows in a sentence."""

    name: str
    title: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The picture as an <svg> element."""
        return svg_of(self.figure, f"plot-{self.name}", self.title)

    @cached_property
    def png(self) -> bytes:
        """The picture as a PNG file, 1,200 pixels wide."""
        picture = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": None})
        return picture.getvalue()


def plots_of(cells: Sequence[Cell]) -> list[Plot]:
    """The plots for which a sweep has the points.

    Args:
        cells: of a sweep (`tasks.sweeps.cells.cells_of`).
    """
    whole = [cell for cell in cells if cell.runs]
    return [plot for plot in _plots(whole) if plot is not None]


def _plots(cells: Sequence[Cell]) -> Iterator[Plot | None]:
    for axis in ("batch_size", "data_size", "partition_size", "memory_mb", "world_size"):
        yield _against(cells, axis)
    yield _cost(cells)
    yield _pareto(cells)
    yield from _timelines(cells)


@dataclass(frozen=True)
class _Line:
    label: str
    x: np.ndarray
    cells: list[Cell]


def _position(cell: Cell, axis: str) -> float:
    """Where a cell lies on an axis; data as they were read, for a nominal size is rounded up to whole partitions."""
    if axis == "data_size":
        return cell.runs[0].gigabytes
    value = cell.axes[axis]
    return megabytes(value) if isinstance(value, str) else float(value)


def _lines(cells: Sequence[Cell], axis: str) -> list[_Line]:
    """Lines of two points and more along an axis."""
    lines = []
    for label, group in groups_along([cell for cell in cells if _is_placed(cell, axis)], axis).items():
        ordered = sorted(group, key=lambda cell: _position(cell, axis))
        if len(ordered) > 1:
            lines.append(_Line(label, np.array([_position(cell, axis) for cell in ordered]), ordered))
    return lines


def _is_placed(cell: Cell, axis: str) -> bool:
    return axis == "data_size" or cell.axes.get(axis) is not None


def _against(cells: Sequence[Cell], axis: str) -> Plot | None:
    """Time above, throughput below, along one axis."""
    lines = _lines(cells, axis)
    if axis not in varying(cells) or not lines:
        return None
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    with mpl.rc_context(STYLE):
        above, below = figure.subplots(2, 1, sharex=True)
        for axes, metric, label in (
            (above, "makespan_s", "makespan in s"),
            (below, "samples_per_s", "samples per second"),
        ):
            _draw(axes, lines, metric)
            axes.set_ylabel(label)
        _x_axis(below, lines, axis)
        _legend(figure, above, lines)
        name = axis.removesuffix("_mb").replace("_", "-")
        title = f"Time and throughput against {AXES[axis].lower()}"
        return Plot(name, title, f"Makespan above, throughput over the makespan below. {_drawn(lines)}", figure)


def _cost(cells: Sequence[Cell]) -> Plot | None:
    lines = _lines(cells, "data_size")
    if "data_size" not in varying(cells) or not lines:
        return None
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        _draw(axes, lines, "usd")
        axes.set_ylabel("cost in USD")
        _x_axis(axes, lines, "data_size")
        _legend(figure, axes, lines)
        caption = f"The bill, method billed, of a run that reads so much. {_drawn(lines)}"
        return Plot("cost", "Cost against data size", caption, figure)


def _draw(axes: Axes, lines: Sequence[_Line], metric: str) -> None:
    tops, bottoms = [], []
    drawn = list(zip(lines, LINES, strict=False))
    for number, (line, (colour, marker, dash)) in enumerate(drawn):
        aside = ScaledTranslation((number - (len(drawn) - 1) / 2) * _ASIDE / 72, 0, axes.figure.dpi_scale_trans)
        means = [mean_interval(cell.values(metric)) if cell.values(metric) else None for cell in line.cells]
        seen = [mean is not None for mean in means]
        some = [mean for mean in means if mean is not None]
        if not some:
            continue
        y = np.array([mean.mean for mean in some])
        low = np.array([mean.low if mean.low is not None else mean.mean for mean in some])
        high = np.array([mean.high if mean.high is not None else mean.mean for mean in some])
        axes.errorbar(
            line.x[seen],
            y,
            yerr=np.stack([y - low, high - y]),
            transform=axes.transData + aside,
            label=line.label,
            color=colour,
            marker=marker,
            linestyle=dash,
            markersize=5.5,
            markeredgecolor="white",
            markeredgewidth=0.7,
            linewidth=1.6,
            elinewidth=1.1,
            capsize=3,
        )
        tops.append(float(max(y.max(), high.max())))
        bottoms.append(float(y.min()))
    if bottoms and min(bottoms) > 0 and max(tops) / min(bottoms) > WIDE_Y:
        axes.set_yscale("log")
        axes.set_ylim(min(bottoms) / 1.4, max(tops) * 1.2)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, 1.08 * max(tops, default=1.0) or 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.grid(axis="y", color="#e3e7ec", linewidth=0.7)
    axes.set_axisbelow(True)


def _x_axis(axes: Axes, lines: Sequence[_Line], axis: str) -> None:
    """Ticks where there are points, those that would stand too close left out; logarithmic where the range is wide."""
    points = np.unique(np.concatenate([line.x for line in lines[: len(LINES)]]))
    wide = points[0] > 0 and points[-1] / points[0] > WIDE_X
    if wide:
        axes.set_xscale("log")
    scaled = np.log(points) if wide else points
    room = (0.09 if axis == "data_size" else 0.05) * (scaled[-1] - scaled[0])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    margin = 0.06 * (scaled[-1] - scaled[0])
    if axis == "data_size" and not wide:
        axes.set_xlim(0, float(points[-1]) + margin)
    else:
        kept = [0]
        for n in range(1, len(scaled)):
            if scaled[n] - scaled[kept[-1]] > room:
                kept.append(n)
        axes.xaxis.set_major_locator(FixedLocator(points[kept].tolist()))
        ends = scaled[0] - margin, scaled[-1] + margin
        axes.set_xlim(*(np.exp(ends) if wide else ends))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}"))
    labels = {
        "batch_size": "batch size",
        "partition_size": "partition size in MB",
        "data_size": "data read in GB",
        "memory_mb": "memory of the function in MB",
        "world_size": "ranks",
    }
    axes.set_xlabel(labels[axis])


def _legend(figure: Figure, axes: Axes, lines: Sequence[_Line]) -> None:
    """Name the lines, in rows that read from left to right."""
    if len(lines) < 2:
        return
    handles, labels = axes.get_legend_handles_labels()
    most = max(1, min(5, 62 // (max(map(len, labels)) + 7)))
    rows = -(-len(labels) // most)
    columns = -(-len(labels) // rows)
    order = [n for column in range(columns) for n in range(column, len(labels), columns)]
    legend_above(figure, [handles[n] for n in order], [labels[n] for n in order], columns)


def _drawn(lines: Sequence[_Line]) -> str:
    text = "A point is the mean over the runs of a cell, its bar the 95 % interval where there are two runs and more."
    if len(lines) > 1:
        text += " Lines stand a little aside of each other, so that their intervals are seen."
    if len(lines) > len(LINES):
        text += f" Drawn are the first {len(LINES)} of {len(lines)} lines; all are in the table."
    return text


def _pareto(cells: Sequence[Cell]) -> Plot | None:
    drawn = draw_pareto(cells)
    return drawn and Plot("pareto", "Time against cost", drawn[1], drawn[0])


def _timelines(cells: Sequence[Cell]) -> Iterator[Plot]:
    """The ranks of the sweep's fastest run and of its slowest."""
    runs = [run for cell in cells for run in cell.runs if run.document.get("ranks") and "samples_per_s" in run.figures]
    if not runs:
        return
    by_speed = sorted(runs, key=lambda run: run.figures["samples_per_s"])
    names = varying(cells)
    for kind, run in (("fastest", by_speed[-1]), *([("slowest", by_speed[0])] if len(runs) > 1 else [])):
        of = ", ".join(format_axis_value(name, run.axes.get(name)) for name in names)
        which = f"{of + ', ' if of else ''}run {run.repeat}"
        rows = list(run.document["ranks"])
        step = -(-len(rows) // _RANKS_DRAWN)
        figure = draw_timeline(pd.DataFrame(rows[::step]), run.document.get("dispatched_at"), whole=step == 1)
        caption = (
            f"The {kind} run of the sweep by samples a second ({which}): {METRICS['makespan_s'].how} took"
            f" {run.figures['makespan_s']:,.3g} s. A bar is a rank, with the seconds of each stage one after the"
            f" other.{f' Drawn is one rank of {step}.' if step > 1 else ''}"
        )
        yield Plot(f"timeline-{kind}", f"Ranks over time, {kind} run", caption, figure)

"""Time against cost: the cells of a sweep, and the front of those that no other beats on both."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tasks.reporting.figures import INK, STYLE, WARM, WIDTH, legend_above
from tasks.sweeps.cells import Cell, comparable_cells, format_axis_value, varying
from tasks.sweeps.statistics import mean_interval

_NAMED = 10  # points at most that the legend below the axes names
_BEHIND = "#8a95a3"


class _Extent(NamedTuple):
    """A mean and the ends of its interval, which are the mean itself where there is no interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "_Extent":
        mean = mean_interval(values)
        low = mean.mean if mean.low is None else max(mean.low, 0.0)
        return cls(mean.mean, low, mean.mean if mean.high is None else mean.high)

    @property
    def arms(self) -> list[list[float]]:
        return [[self.mean - self.low], [self.high - self.mean]]


class _Point(NamedTuple):
    time: _Extent
    cost: _Extent
    is_best: bool
    cell: Cell


def draw_pareto(cells: Sequence[Cell]) -> tuple[Figure, str] | None:
    """Time against cost of the cells that read the same data, numbered, with a legend of the numbers below.

    Returns:
        The figure and what it shows; None where fewer than two cells can be compared.
    """
    chosen = comparable_cells(cells)
    known = [cell for cell in chosen if cell.values("makespan_s") and cell.values("usd")]
    if len(known) < 2:
        return None
    extents = [(_Extent.of(cell.values("makespan_s")), _Extent.of(cell.values("usd"))) for cell in known]
    front = on_front([(time.mean, cost.mean) for time, cost in extents])
    points = [_Point(*pair, best, cell) for pair, best, cell in zip(extents, front, known, strict=True)]
    points.sort(key=lambda point: (not point.is_best, point.time.mean))
    named = [point for point in points if point.is_best or len(points) <= _NAMED][:_NAMED]
    figure = Figure(figsize=(WIDTH, 4.0 + 0.22 * -(-len(named) // 2)), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        _draw(axes, points)
        handles = [_dot(WARM, "o", "on the front")] + ([] if all(front) else [_dot(_BEHIND, "X", "behind it")])
        legend_above(figure, handles, [str(each.get_label()) for each in handles])
        _number(figure, axes, named, varying(chosen))
    size = format_axis_value("data_size", chosen[0].axes.get("data_size"))
    of_size = f" of {size}" if len(chosen) < len(cells) else ""
    caption = (
        f"A point is a cell{of_size}, its bars the 95 % intervals of its means. The dashed line is the front: no other"
        " cell is both at least as fast and at least as cheap, by the means."
    )
    if len(named) < len(points):
        caption += f" {len(named)} points are numbered; all cells are in the tables."
    return figure, caption


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points no other beats: at most as much on both, and less on one.

    >>> on_front([(1.0, 3.0), (2.0, 2.0), (2.0, 3.0)])
    [True, True, False]
    """
    return [not any(a <= x and b <= y and (a < x or b < y) for a, b in points) for x, y in points]


def _draw(axes: Axes, points: Sequence[_Point]) -> None:
    for point in points:
        axes.errorbar(
            point.time.mean,
            point.cost.mean,
            xerr=point.time.arms,
            yerr=point.cost.arms,
            color=WARM if point.is_best else _BEHIND,
            marker="o" if point.is_best else "X",
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=0.7,
            elinewidth=1.0,
            capsize=2.5,
            linestyle="none",
            zorder=3 if point.is_best else 2,
        )
    corners = sorted((point.time.mean, point.cost.mean) for point in points if point.is_best)
    axes.step(*zip(*corners, strict=True), where="post", color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    for extents, limit in (
        ([point.time for point in points], axes.set_xlim),
        ([point.cost for point in points], axes.set_ylim),
    ):
        low, high = min(extent.low for extent in extents), max(extent.high for extent in extents)
        room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
        limit(max(low - room, 0.0) if low > 0 else -room, high + room)
    axes.set_xlabel("makespan in s")
    axes.set_ylabel("cost in USD")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(7))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _number(figure: Figure, axes: Axes, named: Sequence[_Point], names: Sequence[str]) -> None:
    """A number beside each point, and below the axes which cell each number is."""
    for count, point in enumerate(named, 1):
        place = point.time.mean, point.cost.mean
        axes.annotate(str(count), place, xytext=(5, 5), textcoords="offset points", fontsize=9.5, zorder=4)
    handles = [Line2D([], [], linestyle="none") for _ in named]
    labels = [f"{count}  {point.cell.label(names)}" for count, point in enumerate(named, 1)]
    columns = 2 if max(map(len, labels)) < 36 else 1
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=0, handletextpad=0)


def _dot(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=label)

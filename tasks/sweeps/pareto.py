"""Time against cost: the cells of a sweep, and the front of those that no other beats on both."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from tasks.reporting.figures import INK, STYLE, WARM, WIDTH, legend_above
from tasks.sweeps.cells import AXES, Cell, groups_along, told, varying
from tasks.sweeps.statistics import mean_interval

_LABELLED = 10
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


@dataclass(frozen=True)
class _Point:
    cell: Cell
    time: _Extent
    cost: _Extent


def draw_pareto(cells: Sequence[Cell]) -> tuple[Figure, str] | None:
    """Time against cost of the cells that read the same data, the ones that no other beats on both labelled.

    Returns:
        The figure and what it shows; None where fewer than two cells can be compared.
    """
    sizes = groups_along(cells, *(axis for axis in AXES if axis != "data_size"))
    chosen = max(sizes.values(), key=lambda group: (len(group), group[0].runs[0].gigabytes), default=[])
    points = [
        _Point(cell, _Extent.of(cell.values("makespan_s")), _Extent.of(cell.values("usd")))
        for cell in chosen
        if cell.values("makespan_s") and cell.values("usd")
    ]
    if len(points) < 2:
        return None
    front = on_front([(point.time.mean, point.cost.mean) for point in points])
    labelled = [point for point, best in zip(points, front, strict=True) if best or len(points) <= _LABELLED]
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        _draw(axes, points, front)
        handles = [_dot(WARM, "o", "on the front")] + ([] if all(front) else [_dot(_BEHIND, "X", "behind it")])
        legend_above(figure, handles, [str(each.get_label()) for each in handles])
        _label(figure, axes, points, labelled[:_LABELLED], varying(chosen))
    size = f" of {told('data_size', chosen[0].axes.get('data_size'))}" if len(sizes) > 1 else ""
    caption = (
        f"A point is a cell{size}, its bars the 95 % intervals of its means. The dashed line is the front: the cells"
        " than which no other is at most as slow and at most as dear, by the means."
    )
    if len(labelled) < len(points):
        caption += " Only these are labelled; all are in the tables."
    return figure, caption


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points no other beats: at most as much on both, and less on one."""
    return [not any(a <= x and b <= y and (a < x or b < y) for a, b in points) for x, y in points]


def _draw(axes: Axes, points: Sequence[_Point], front: Sequence[bool]) -> None:
    for point, best in zip(points, front, strict=True):
        axes.errorbar(
            point.time.mean,
            point.cost.mean,
            xerr=point.time.arms,
            yerr=point.cost.arms,
            color=WARM if best else _BEHIND,
            marker="o" if best else "X",
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=0.7,
            elinewidth=1.0,
            capsize=2.5,
            linestyle="none",
            zorder=3 if best else 2,
        )
    corners = sorted((point.time.mean, point.cost.mean) for point, best in zip(points, front, strict=True) if best)
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


def _dot(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=label)


def _label(figure: Figure, axes: Axes, points: Sequence[_Point], labelled: Sequence[_Point], names: list[str]) -> None:
    """Set each label where it covers least of points, intervals and other labels, inside the axes."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw(renderer)  # settles the layout, without which no place in pixels is known
    frame = axes.get_window_extent(renderer)
    taken = [box for point in points for box in _boxes(axes, point)]
    for point in labelled:
        best: tuple[float, Bbox, Annotation] | None = None
        for note in _tries(axes, point, point.cell.label(names)):
            note.update_positions(renderer)
            box = Text.get_window_extent(note, renderer)  # of the words; the line to the point is not counted
            bad = sum(weight for weight, other in taken if box.overlaps(other)) + 10.0 * (not _inside(box, frame))
            if best is not None and bad >= best[0]:
                note.remove()
                continue
            if best is not None:
                best[2].remove()
            best = bad, box, note
            if bad == 0:
                break
        if best is not None:
            taken.append((3.0, best[1]))


def _boxes(axes: Axes, point: _Point) -> Iterator[tuple[float, Bbox]]:
    """What a label should not cover, in pixels, and how bad it were."""
    time, cost = point.time, point.cost
    (x, y), low, high = axes.transData.transform(
        [(time.mean, cost.mean), (time.low, cost.low), (time.high, cost.high)]
    ).tolist()
    yield 3.0, Bbox.from_extents(x - 7, y - 7, x + 7, y + 7)
    yield 1.0, Bbox.from_extents(low[0] - 1, y - 1, high[0] + 1, y + 1)
    yield 1.0, Bbox.from_extents(x - 1, low[1] - 1, x + 1, high[1] + 1)


def _tries(axes: Axes, point: _Point, text: str) -> Iterator[Annotation]:
    for distance in (8, 18, 30, 44, 60):
        for angle in (45, -45, 135, -135, 0, 90, 180, -90):
            across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            sides: dict[str, Any] = {
                "ha": "left" if across > 0.1 else "right" if across < -0.1 else "center",
                "va": "bottom" if up > 0.1 else "top" if up < -0.1 else "center",
            }
            note = axes.annotate(
                text,
                (point.time.mean, point.cost.mean),
                xytext=(distance * across, distance * up),
                textcoords="offset points",
                fontsize=9.5,
                zorder=4,
                bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
                arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 5},
                **sides,
            )
            note.set_in_layout(False)
            yield note


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)

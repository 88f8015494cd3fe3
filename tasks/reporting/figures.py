"""The report's figures, each as one piece of SVG to be set into a page.

Colours differ in lightness, not by hue alone, so that the figures are read without colour too.
"""

import base64
import io
import re
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inference.contract.counted import counted

INK, PALE = "#1f2733", "#c9d1db"
COLD, WARM = "#e69f00", "#0072b2"
STAGES = {
    "wall_load_s": ("load the engine", COLD),
    "wall_read_s": ("read", "#a6d4f0"),
    "wall_compute_s": ("compute", WARM),
    "wall_write_s": ("write", "#10233c"),
}
WIDTH = 6.0  # inches of 72 units
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "font.size": 11,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.color": "white",
    "hatch.linewidth": 0.9,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def rank_time_histogram(ranks: pd.DataFrame) -> str:
    """How long ranks took by the wall clock, cold and warm apart, with the median of each.

    Args:
        ranks: wall_total_s (seconds) and cold (a new process, which loaded the engine first); at least one row.
    """
    seconds = ranks["wall_total_s"].to_numpy(dtype=float)
    cold = ranks["cold"].to_numpy(dtype=bool)
    groups = [("warm", WARM, seconds[~cold]), ("cold", COLD, seconds[cold])]
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        edges = np.histogram_bin_edges(seconds, bins=int(np.clip(3 * len(seconds) ** 0.5, 8, 40)))
        below = np.zeros(len(edges) - 1)
        for name, colour, times in groups:
            if not len(times):
                continue
            counts, _ = np.histogram(times, edges)
            label = f"{name}: {counted(len(times), 'rank')}, median {np.median(times):.3g} s"
            axes.bar(
                edges[:-1],
                counts,
                np.diff(edges),
                below,
                align="edge",
                color=colour,
                edgecolor="white",
                linewidth=0.6,
                hatch="////" if name == "cold" else None,
                label=label.replace(" 1 ranks", " 1 rank"),
            )
            below += counts
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("wall time of a rank in seconds")
        axes.set_ylabel("ranks")
        legend_above(figure, *axes.get_legend_handles_labels())
        return svg_of(figure, "rank-times", f"Histogram of the wall times of {counted(len(seconds), 'rank')}")


def legend_above(figure: Figure, handles: list[Any], labels: list[str], columns: int = 5) -> None:
    """Put the legend above the axes."""
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        handlelength=1.2,
        columnspacing=1.2,
        handletextpad=0.5,
        borderaxespad=0.2,
    )


def svg_of(figure: Figure, name: str, label: str) -> str:
    """The figure as an <svg> element: no prologue, the same bytes every time, and ids that are its own in a page."""
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), io.BytesIO() as drawn:  # as text it takes four times as much
        FigureCanvasSVG(figure)
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")  # else matplotlib draws all of it once more, for nothing but the layout
        figure.savefig(drawn, format="svg", metadata=nothing, facecolor="none")
        svg = drawn.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)  # 1/100 unit is enough
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    size = r'<svg ([^>]*?)\bwidth="[^"]*"|\bheight="[^"]*pt"'
    svg = re.sub(size, lambda found: f"<svg {found[1]}" if found[1] is not None else "", svg, count=2)
    style = "stroke-linejoin: round; stroke-linecap: butt"
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" style="{style}" ', 1)


def as_image(svg: str) -> str:
    """A figure as the address of an image: on white, and of a size of its own."""
    drawn = svg.replace('style="', 'style="background: white; ', 1).replace("<svg ", '<svg width="800" ', 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"


class Picture(NamedTuple):
    """A plot as SVG, and what it shows."""

    svg: str
    caption: str


# So few that matplotlib draws the bar of colours as paths: as an image, it would not turn with the cells in dark pages.
SHADES = LinearSegmentedColormap.from_list("depth", ["#bcd9ee", "#5aa7d6", WARM, "#0d2f52", "#05101f"], N=48)

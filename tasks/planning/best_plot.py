"""Time against cost of every configuration that was tried, with the front."""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from tasks.planning.best import Choice
from tasks.reporting.figures import INK, STYLE, WARM, WIDTH

_BEHIND = "#8a95a3"


def plot(choices: Sequence[Choice], best: Choice) -> bytes:
    """A PNG: a point is a configuration, the line is the front, the star is the one that was chosen."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
        axes = figure.add_subplot()
        front = sorted((each.s, each.usd) for each in choices if each.front)
        behind = [(each.s, each.usd) for each in choices if not each.front]
        if behind:
            axes.plot(*zip(*behind, strict=True), "x", markersize=4, color=_BEHIND, label="beaten by another")
        axes.step(*zip(*front, strict=True), where="post", color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.plot(*zip(*front, strict=True), "o", color=WARM, label="on the front", zorder=3)
        axes.scatter([best.s], [best.usd], s=160, color=INK, marker="*", label="chosen", zorder=4)
        axes.set_xlabel("end to end in s, expected")
        axes.set_ylabel("bill in USD, expected")
        axes.legend()
        page = io.BytesIO()
        figure.savefig(page, format="png", dpi=150)
    return page.getvalue()

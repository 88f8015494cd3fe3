"""Redshifts as pictures beside the density plot: residuals, the distributions N(z), the metrics in bins."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from inference.contract.counted import counted
from inference.contract.plausible import PREDICTION, REDSHIFT
from tasks.photoz.metric_intervals import edges_of
from tasks.photoz.metrics import OUTLIER, compared
from tasks.reporting.figures import INK, PALE, SHADES, STYLE, WARM, WIDTH, Picture, legend_above, svg_of
from tasks.reporting.table import Row

_LIMIT, _BAND = "#b3470b", "#e69f00"
_CASED = [withStroke(linewidth=2.8, foreground="white")]  # seen on the densest cells too
_BINS = 40
_FEWEST = 10  # galaxies of which a median is drawn


def density(predictions: pd.DataFrame, metrics: Mapping[str, float | None]) -> str:
    """Predicted against spectroscopic redshift, with the 1:1 line, the outlier lines and the metrics.

    Args:
        predictions: z_pred and z_spec; rows whose z_spec is not known are left out, at least one must be.
        metrics: nmad, bias, r2, outlier_fraction, mae (`tasks.photoz.metrics`).
    """
    z_pred, z_spec = (predictions[name].to_numpy(dtype=float) for name in ("z_pred", "z_spec"))
    known = REDSHIFT.measured(z_spec) & PREDICTION.measured(z_pred)
    z_pred, z_spec = z_pred[known], z_spec[known]
    low, high = _frame(z_spec, z_pred)
    inside = (z_pred >= low) & (z_pred <= high)
    figure = Figure(figsize=(WIDTH, 5.3), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        cells = axes.hexbin(
            z_spec[inside],
            z_pred[inside],
            gridsize=(44, 26),
            extent=(low, high, low, high),
            mincnt=1,
            cmap=SHADES,
            linewidths=0.1,
        )
        cells.set_norm(LogNorm(1, max(np.max(np.asarray(cells.get_array())), 2)))
        line = np.array([low, high])
        axes.plot(line, line, color=INK, linewidth=1.1, label="1:1", path_effects=_CASED)
        for sign in (1, -1):
            limit = line + sign * OUTLIER * (1 + line)
            axes.plot(line, limit, color=_LIMIT, linewidth=1.1, linestyle=(0, (5, 3)), label=_outlier_label(sign))
        axes.set(xlim=(low, high), ylim=(low, high), xlabel="spectroscopic redshift", ylabel="predicted redshift")
        axes.set_aspect("equal")
        axes.text(
            0.985,
            0.02,
            "\n".join(_corner(metrics, len(z_spec), int(len(z_spec) - inside.sum()))),
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            linespacing=1.35,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 3},
        )
        legend_above(figure, *axes.get_legend_handles_labels())
        _colour_bar(figure, axes, cells, shrink=0.8)
        return svg_of(
            figure,
            "density",
            f"Predicted against spectroscopic redshift of {counted(len(z_spec), 'galaxy')}",
        )


def _colour_bar(figure: Figure, axes: Axes, cells: PolyCollection, shrink: float) -> None:
    bar = figure.colorbar(cells, ax=axes, shrink=shrink, pad=0.02)
    bar.set_label("galaxies in a cell")
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")  # no seam shows between two colours
    bar.ax.yaxis.set_major_formatter("{x:,.0f}")
    bar.ax.minorticks_off()


def _outlier_label(sign: int) -> str:
    return f"outlier limits, z ± {OUTLIER:g} (1 + z)" if sign > 0 else "_"


def _frame(z_spec: np.ndarray, z_pred: np.ndarray) -> tuple[float, float]:
    """Limits that hold every spectroscopic redshift and all but the wildest predictions."""
    low, high = np.quantile(z_pred, [0.001, 0.999])
    low, high = min(low, z_spec.min()), max(high, z_spec.max())
    margin = 0.03 * (high - low) or 0.05
    return float(low - margin), float(high + margin)


def _corner(metrics: Mapping[str, float | None], count: int, outside: int) -> Iterable[str]:
    for key, label, form in (
        ("nmad", "NMAD", "{:.4f}"),
        ("bias", "bias", "{:+.4f}"),
        ("mae", "MAE", "{:.4f}"),
        ("r2", "R²", "{:.3f}"),
        ("outlier_fraction", "outliers", "{:.2%}"),
    ):
        value = metrics.get(key)
        if value is not None and np.isfinite(value):
            yield f"{label} {form.format(value)}"
    yield f"{counted(count, 'galaxy')}"
    if outside:
        yield f"{outside:,} outside the frame"


def residuals(predictions: pd.DataFrame) -> str:
    """Delta against spectroscopic redshift, with its running median, the central 68 % and the outlier limits.

    Args:
        predictions: z_pred and z_spec; rows whose z_spec is not known are left out, at least one must be.
    """
    pred, spec, _ = compared(predictions["z_pred"].to_numpy(), predictions["z_spec"].to_numpy())
    delta = (pred - spec) / (1 + spec)
    reach = max(1.15 * OUTLIER, float(np.quantile(np.abs(delta), 0.998)) * 1.05)
    inside = np.abs(delta) <= reach
    low, high = float(spec.min()), float(spec.max())
    margin = 0.03 * (high - low) or 0.05
    frame = (low - margin, high + margin, -reach, reach)
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        cells = axes.hexbin(
            spec[inside], delta[inside], gridsize=(48, 20), extent=frame, mincnt=1, cmap=SHADES, linewidths=0.1
        )
        most = np.asarray(cells.get_array())
        cells.set_norm(LogNorm(1, max(float(most.max(initial=1)), 2)))
        axes.axhline(0, color=INK, linewidth=0.8)
        for sign in (1, -1):
            label = f"outlier limits, ± {OUTLIER:g}" if sign > 0 else "_"
            axes.axhline(sign * OUTLIER, color=_LIMIT, linewidth=1.1, linestyle=(0, (5, 3)), label=label)
        middles, quantiles = _running(spec, delta)
        if len(middles):
            for column, label in ((0, "central 68 %"), (2, "_")):
                style = {"color": _BAND, "linewidth": 1.3, "linestyle": (0, (2, 1.2)), "path_effects": _CASED}
                axes.plot(middles, quantiles[:, column], label=label, **style)  # type: ignore[arg-type]
            axes.plot(middles, quantiles[:, 1], color=_BAND, linewidth=1.8, label="median", path_effects=_CASED)
        axes.set(xlim=frame[:2], ylim=frame[2:], xlabel="spectroscopic redshift")
        axes.set_ylabel("$\\Delta z\\,/\\,(1 + z)$")
        outside = int((~inside).sum())
        if outside:
            note = f"{outside:,} outside the frame"
            axes.text(0.985, 0.03, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=9)
        _colour_bar(figure, axes, cells, shrink=0.9)
        legend_above(figure, *axes.get_legend_handles_labels())
        return svg_of(
            figure,
            "residuals",
            f"Residuals against spectroscopic redshift of {counted(len(spec), 'galaxy')}",
        )


def _running(spec: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middles of bins with enough galaxies, and the 16, 50 and 84 % quantiles of delta in each: (B,), (B, 3)."""
    edges = edges_of(spec, 16)
    middles, rows = [], []
    for low, high in pairwise(edges):
        chosen = (spec >= low) & (spec < high)
        if chosen.sum() >= _FEWEST:
            middles.append(np.median(spec[chosen]))
            rows.append(np.quantile(delta[chosen], [0.16, 0.5, 0.84]))
    return np.array(middles), np.array(rows).reshape(-1, 3)


def redshift_pictures(predictions: pd.DataFrame | None, metrics: Mapping[str, float | None] | None) -> list[Picture]:
    """What there is to draw of the redshifts; without known ones their distribution alone."""
    if predictions is None or predictions.empty:
        return []
    pictures = []
    if metrics:
        pictures += [
            Picture(
                density(predictions, metrics),
                "Predicted against spectroscopic redshift. A cell's colour counts its galaxies, on the bar's"
                " logarithmic scale.",
            ),
            Picture(
                residuals(predictions),
                "Residuals, z_pred - z_spec over 1 + z_spec, with their running median and the central 68 %.",
            ),
        ]
    caption = "N(z): how many galaxies are predicted at which redshift"
    pictures.append(Picture(distributions(predictions), f"{caption}{', and how many have it' if metrics else ''}."))
    return pictures


def distributions(predictions: pd.DataFrame) -> str:
    """N(z): how many galaxies are predicted at which redshift, and how many have it, on the same bins.

    Args:
        predictions: z_pred and z_spec of at least one galaxy; where none has a z_spec, predictions are drawn alone.
    """
    pred, spec = predictions["z_pred"].to_numpy(float), predictions["z_spec"].to_numpy(float)
    pred, spec = pred[PREDICTION.measured(pred)], spec[REDSHIFT.measured(spec)]
    both = np.concatenate([pred, spec])
    low, high = np.quantile(both, [0.001, 0.999])
    low, high = (float(low), float(high)) if high > low else (float(low) - 0.05, float(high) + 0.05)
    edges = np.linspace(low, high, _BINS + 1)
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        if len(spec):
            counts, _ = np.histogram(spec, edges)
            axes.stairs(
                counts,
                edges,
                fill=True,
                color="#c9d1db",
                label=f"spectroscopic: {counted(len(spec), 'galaxy')}",
            )
        counts, _ = np.histogram(pred, edges)
        axes.stairs(counts, edges, color=WARM, linewidth=1.8, label=f"predicted: {counted(len(pred), 'galaxy')}")
        axes.set_xlim(low, high)
        axes.set_ylim(0)
        axes.set_xlabel("redshift")
        axes.set_ylabel(f"galaxies in {edges[1] - edges[0]:.2g} of redshift")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        legend_above(figure, *axes.get_legend_handles_labels())
        return svg_of(figure, "distributions", f"Redshift distributions of {counted(len(pred), 'galaxy')}")


PIT_CAPTION = (
    "PIT: the share of each galaxy's p(z) below its spectroscopic redshift. The bars are level at the dashed line where"
    " p(z) is right; a hump says that it is too wide, a bowl that it is too narrow. The band is what chance allows"
    " (95 %)."
)


def pit_histogram(pit: np.ndarray) -> str:
    """Histogram of probability integral transforms, (N,), N at least 1, with the uniform distribution."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        counts, edges = np.histogram(pit, np.linspace(0, 1, 21))
        share = 1 / len(counts)
        half = 1.96 * np.sqrt(share * (1 - share) / len(pit)) / share
        axes.axhspan(1 - half, 1 + half, color=PALE, linewidth=0)
        axes.stairs(counts / len(pit) / share, edges, color=WARM, linewidth=1.8)
        axes.axhline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="PIT", ylabel="density of galaxies")
        return svg_of(figure, "pit", f"Probability integral transforms of {counted(len(pit), 'galaxy')}")


def binned_metrics(rows: Sequence[Row], title: str, name: str) -> str:
    """Bias above, scatter in the middle, outliers below, in the bins of one quantity, with their 95 % intervals.

    Args:
        rows: of `tasks.photoz.metric_intervals.metrics_in_bins`, at least one.
        title: of the quantity's axis.
        name: of the figure, unique in its page.
    """
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    with mpl.rc_context(STYLE):
        panels = figure.subplots(3, 1, sharex=True)
        x = np.array([row["median"] for row in rows])
        panels[0].axhline(0, color=INK, linewidth=0.8)
        _points(panels[0], rows, x, "bias", "bias", WARM, "o")
        _points(panels[1], rows, x, "nmad", "NMAD", WARM, "o")
        _points(panels[1], rows, x, "sigma68", "sigma 68", _BAND, "s")
        _points(panels[2], rows, x, "outlier_fraction", f"|Δz| / (1 + z) > {OUTLIER:g}", WARM, "o", 100.0)
        _points(panels[2], rows, x, "outlier_fraction_005", "> 0.05", _BAND, "s", 100.0)
        for axes, label in zip(panels, ("bias", "scatter", "outliers in %"), strict=True):
            axes.set_ylabel(label)
            axes.grid(axis="y", color="#e3e7ec", linewidth=0.7)
            axes.set_axisbelow(True)
        for axes in panels[1:]:
            axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend
            axes.legend(loc="upper left", ncols=2, frameon=False, handlelength=1.2)
        panels[2].set_xlabel(title)
        return svg_of(figure, name, f"Metrics in bins of {title}")


def _points(
    axes: Axes,
    rows: Sequence[Row],
    x: np.ndarray,
    metric: str,
    label: str,
    colour: str,
    marker: str,
    scale: float = 1.0,
) -> None:
    y = scale * np.array([row[metric] for row in rows])
    ends = [[row[f"{metric}_{end}"] for row in rows] for end in ("low", "high")]
    low, high = (scale * np.array([np.nan if end is None else end for end in column], dtype=float) for column in ends)
    low, high = np.where(np.isnan(low), y, np.minimum(low, y)), np.where(np.isnan(high), y, np.maximum(high, y))
    axes.errorbar(
        x,
        y,
        yerr=np.stack([y - low, high - y]),
        label=label,
        color=colour,
        marker=marker,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.7,
        linewidth=1.3,
        elinewidth=1.1,
        capsize=3,
    )

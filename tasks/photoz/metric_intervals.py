"""Photo-z quality as the field reports it: every metric with a bootstrap interval, over all galaxies and in bins."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tasks.photoz.metrics import OUTLIER, compared, metrics_of_samples, point_metrics
from tasks.reporting.formatting import number, percent, span
from tasks.reporting.page import Stat
from tasks.reporting.table import Column, Row, Table

LEVEL = 0.95
SEED = 0
FEWEST = 10  # galaxies for which an interval says anything
_MOST, _LEAST = 1000, 200  # resamples
_LARGEST = 50_000  # galaxies in a resample
_LEAST_WIDTH = 1e-300  # of a bin: numbers below are too coarse to divide by
_BIN_RESAMPLES = 200
_AT_ONCE = 100_000  # galaxies drawn together: what stays in the cache
_DRAWS = 2e7  # galaxies drawn in all resamples together: a second or two
BINS = 8
DELTA = "d = (z_pred - z_spec) / (1 + z_spec)"
INTERVAL = (
    "the 95 % percentile interval of a bootstrap over galaxies (Efron & Tibshirani 1993, An Introduction to the"
    " Bootstrap)"
)


class PhotozMetric(NamedTuple):
    """A metric: its key in `tasks.photoz.metrics`, its name, how it is shown, what it is and who defined it."""

    key: str
    label: str
    show: Callable[[Any], str]
    how: str
    source: str = ""


METRICS = (
    PhotozMetric(
        "nmad",
        "NMAD",
        number,
        "1.48 x median of |d - median(d)|, the scatter about the median",
        "Brammer et al. 2008, ApJ 686, 1503",
    ),
    PhotozMetric(
        "nmad_14826",
        "NMAD, factor 1.4826",
        number,
        "the same with the factor that is exact for a Gaussian",
        "Maronna, Martin & Yohai 2006",
    ),
    PhotozMetric(
        "sigma68",
        "Sigma 68",
        number,
        "half the width of the interval that holds the central 68.27 % of d",
        "Carrasco Kind & Brunner 2013, MNRAS 432, 1483",
    ),
    PhotozMetric(
        "precision",
        "Scatter about zero",
        number,
        "1.48 x median of |d|, what the replaced system called NMAD",
        "Ilbert et al. 2006, A&A 457, 841",
    ),
    PhotozMetric("bias", "Bias", number, "mean of d"),
    PhotozMetric("mae", "MAE", number, "mean of |z_pred - z_spec|"),
    PhotozMetric("mse", "MSE", number, "mean of (z_pred - z_spec) squared"),
    PhotozMetric("r2", "R²", number, "1 - squared errors over squared deviations of z_spec from its mean"),
    PhotozMetric(
        "outlier_fraction",
        "Outliers",
        percent,
        f"share of galaxies with |d| above {OUTLIER:g}",
        "Hildebrandt et al. 2010, A&A 523, A31",
    ),
    PhotozMetric("outlier_fraction_005", "Beyond 0.05", percent, "share of galaxies with |d| above 0.05"),
    PhotozMetric("bias_median", "Bias, RAIL", number, "median of d", "LSST DESC, RAIL, rail.evaluation"),
    PhotozMetric(
        "sigma_iqr",
        "Sigma IQR, RAIL",
        number,
        "interquartile range of d over 1.349",
        "LSST DESC, RAIL, rail.evaluation",
    ),
    PhotozMetric(
        "outlier_fraction_rail",
        "Outliers, RAIL",
        percent,
        "share of galaxies with |d| above the larger of 0.06 and 3 sigma IQR",
        "LSST DESC, RAIL, rail.evaluation",
    ),
    PhotozMetric("samples", "Galaxies compared", number, "those with both redshifts"),
    PhotozMetric("unknown", "Left out: z_spec", number, "galaxies without a spectroscopic redshift"),
    PhotozMetric("unpredicted", "Left out: z_pred", number, "galaxies without a plausible prediction"),
)
_IN_TABLE = ("bias", "nmad", "sigma68", "outlier_fraction", "outlier_fraction_005")
_IN_BINS = ("bias", "nmad", "sigma68", "mae", "outlier_fraction", "outlier_fraction_005")


def resamples_for(galaxies: int) -> int:
    """How many bootstrap resamples are drawn of so many galaxies: 1,000, fewer where each takes long, at least 200."""
    return int(np.clip(_DRAWS / max(galaxies, 1), _LEAST, _MOST))


def intervals(
    z_pred: np.ndarray, z_spec: np.ndarray, resamples: int | None = None, seed: int = SEED
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric: percentiles over resamples of the galaxies, drawn with replacement.

    Of more than 50,000 galaxies a resample holds m = 50,000, and its deviations from the metric of all N galaxies are
    scaled by sqrt(m / N), since each of these metrics converges as 1 / sqrt(N) (Bickel, Goetze & van Zwet 1997,
    Statistica Sinica 7, 1: the m out of n bootstrap).

    Of a share that is none or all the bootstrap knows no spread; there the other end is 3 / N away (the rule of three,
    Hanley & Lippman-Hand 1983, JAMA 249, 1743).

    Args:
        z_pred: predicted redshifts, (N,).
        z_spec: spectroscopic redshifts, (N,); galaxies without either are left out.
        resamples: how many; default `resamples_for`.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        (low, high) by metric; none of a metric that is not known, nothing at all below FEWEST galaxies.
    """
    pred, spec, _ = compared(z_pred, z_spec)
    count = len(spec)
    if count < FEWEST:
        return {}
    rng = np.random.default_rng(seed)
    size = min(count, _LARGEST)
    left = resamples_for(size) if resamples is None else resamples
    drawn: dict[str, list[np.ndarray]] = {}
    while left:
        together = min(left, max(_AT_ONCE // size, 1))  # numpy's calls cost more than a few galaxies
        left -= together
        rows = rng.integers(0, count, (together, size))
        for name, values in metrics_of_samples(pred[rows], spec[rows]).items():
            drawn.setdefault(name, []).append(values[~np.isnan(values)])
    found = {name: np.concatenate(parts) for name, parts in drawn.items()}
    tail, scale, centre = (1 - LEVEL) / 2, math.sqrt(size / count), point_metrics(pred, spec)
    ends = {name: np.quantile(values, [tail, 1 - tail]) for name, values in found.items() if len(values)}
    if size < count:
        ends = {name: value + scale * (ends[name] - value) for name, value in centre.items() if value is not None}
    for name in ("outlier_fraction", "outlier_fraction_005", "outlier_fraction_rail"):
        share = centre[name]
        if share in {0.0, 1.0}:  # no resample differs, and yet nobody knows that there are none
            ends[name] = np.sort(np.abs([share, share - min(3 / count, 1.0)]))
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def edges_of(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Edges of about so many bins at round numbers, equally wide but for the outer two, which reach to the ends.

    Args:
        values: what is binned, (N,); those that are not finite count nothing.
        bins: at least 1.

    Returns:
        Ascending edges, at least two; every finite value lies within.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.array([0.0, 1.0])
    low, high = np.quantile(finite, [0.01, 0.99])
    width = (high - low) / bins
    ends = float(finite.min()), float(np.nextafter(finite.max(), np.inf))
    if not width > _LEAST_WIDTH:
        return np.array(ends)
    power = 10.0 ** math.floor(math.log10(width))
    step = min((step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda step: abs(math.log(step / width)))
    inner = np.arange(math.floor(low / step) + 1, math.ceil(high / step)) * step
    return np.array([ends[0], *inner[(inner > ends[0]) & (inner < ends[1])], ends[1]])


def metrics_in_bins(
    values: np.ndarray, z_pred: np.ndarray, z_spec: np.ndarray, bins: int = BINS, seed: int = SEED
) -> list[Row]:
    """The metrics in bins of some quantity.

    Args:
        values: the quantity, (N,); galaxies where it is not finite are in no bin.
        z_pred: predicted redshifts, (N,).
        z_spec: spectroscopic redshifts, (N,); galaxies without either are left out.
        bins: about how many (`edges_of`).
        seed: of the bootstrap.

    Returns:
        A row a bin that holds galaxies: low, high, median (of the quantity), samples, each metric and the ends of its
        interval (`<metric>_low`, `<metric>_high`; None below FEWEST galaxies).
    """
    pred, spec, known = compared(z_pred, z_spec)
    values = np.asarray(values, np.float64)[known]
    edges = edges_of(values, bins)
    rows = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        if not inside.any():
            continue
        metrics = point_metrics(pred[inside], spec[inside])
        spread = intervals(pred[inside], spec[inside], _BIN_RESAMPLES, seed)
        row: Row = {"low": float(low), "high": float(high), "median": float(np.median(values[inside]))}
        row["samples"] = int(inside.sum())
        for name in _IN_BINS:
            row[name] = metrics[name]
            row[f"{name}_low"], row[f"{name}_high"] = spread.get(name, (None, None))
        rows.append(row)
    return rows


def metric_stats(metrics: Mapping[str, float | None], spread: Mapping[str, Sequence[float]]) -> list[Stat]:
    """Each metric that is there, with its interval and what it is."""
    stats = []
    for metric in METRICS:
        if metric.key in metrics:
            ends = " to ".join(metric.show(end) for end in spread.get(metric.key, ()))
            how = f"{ends} (95 % interval); {metric.how}" if ends else metric.how
            stats.append(Stat(metric.label, metric.show(metrics[metric.key]), how))
    return stats


def metrics_table(metrics: Mapping[str, float | None], spread: Mapping[str, Sequence[float]]) -> Table:
    """All metrics, each with its interval, what it is and who defined it."""
    rows = []
    for metric in METRICS:
        if metric.key not in metrics:
            continue
        low, high = spread.get(metric.key, (None, None))
        rows.append(
            {
                "metric": metric.label,
                "value": metric.show(metrics[metric.key]),
                "interval": "" if low is None else f"{metric.show(low)} to {metric.show(high)}",
                "how": metric.how,
                "source": metric.source,
            }
        )
    columns = (
        Column("metric", "Metric", str, text=True),
        Column("value", "Value", str),
        Column("interval", "95 % interval", str),
        Column("how", "What it is", str, text=True, wide=True),
        Column("source", "Source", str, text=True, wide=True),
    )
    return Table("metrics", "Redshifts", columns, rows, f"With {DELTA}. The interval is {INTERVAL}.")


_HEADLINE = ("nmad", "bias", "outlier_fraction")


def bins_table(name: str, title: str, rows: Sequence[Row]) -> Table:
    """The metrics in bins of one quantity."""
    metrics = [metric for metric in METRICS if metric.key in _IN_TABLE]
    columns = (
        Column("range", title, str, text=True),
        Column("samples", "Galaxies"),
        *(Column(metric.key, metric.label, str, detail=metric.key not in _HEADLINE) for metric in metrics),
    )
    cells = [
        {"range": span(row["low"], row["high"]), "samples": row["samples"]}
        | {metric.key: _cell(metric, row) for metric in metrics}
        for row in rows
    ]
    caption = (
        "After ±, half the width of the 95 % bootstrap interval; where none of the galaxies is an outlier, or all are,"
        f" the interval's other end is given. Neither below {FEWEST} galaxies."
    )
    return Table(name, f"In bins of {title}", columns, cells, caption)


def _cell(metric: PhotozMetric, row: Row) -> str:
    """A metric and its interval; one that reaches to a single side has no half width."""
    value, low, high = (row[f"{metric.key}{end}"] for end in ("", "_low", "_high"))
    if metric.show is percent and value in {0.0, 1.0} and low is not None:
        return f"< {percent(high)}" if value == 0 else f"> {percent(low)}"
    ends = {"value": value, "value_low": low, "value_high": high}
    return Column("value", metric.label, metric.show, spread=True).shown(ends)

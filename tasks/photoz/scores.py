"""How good intervals and p(z) are: coverage, PIT, CRPS and CDE loss, over all galaxies and in bins."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from inference.contract.plausible import REDSHIFT
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.distribution import LEVELS, density_of
from tasks.photoz.magnitude import magnitude_of
from tasks.photoz.metric_intervals import edges_of
from tasks.photoz.monotone import MonotoneCubic
from tasks.photoz.spread import own_spread, residuals_of
from tasks.reporting.formatting import number, percent, span
from tasks.reporting.page import Stat
from tasks.reporting.table import Column, Row, Table

PROMISED = {level: BOUNDS[f"z_err{level}_high"] - BOUNDS[f"z_err{level}_low"] for level in ("68", "95")}
_GRID = 4001  # points on which a bin's distribution is integrated
_FEWEST = 10  # galaxies in a bin from which a coverage says anything


class Scores(NamedTuple):
    """Scores of each galaxy whose redshift is known and which has an interval, (N,) each.

    Attributes:
        rows: their numbers among all galaxies.
        pit: probability integral transform, the share of p(z) below z_spec; uniform when p(z) is right.
        crps: continuous ranked probability score, in redshift; smaller is better.
        cde: integral of p(z) squared minus 2 p(z_spec); its mean is the CDE loss (Izbicki & Lee 2017).
    """

    rows: np.ndarray
    pit: np.ndarray
    crps: np.ndarray
    cde: np.ndarray


def score(
    calibration: Calibration,
    z_pred: np.ndarray,
    z_spec: np.ndarray,
    mag_r: np.ndarray,
    spread: np.ndarray | None = None,
) -> Scores:
    """Score p(z) of each galaxy by its spectroscopic redshift.

    Args:
        calibration: of the model.
        z_pred: predicted redshifts, (N,).
        z_spec: spectroscopic redshifts, (N,), those that are not known are left out.
        mag_r: r magnitudes, AB, (N,).
        spread: the model's own uncertainty (`tasks.photoz.spread.own_spread`), (N, 2).
    """
    pred, spec = np.asarray(z_pred, np.float64), np.asarray(z_spec, np.float64)
    bins = np.where(REDSHIFT.measured(spec), calibration.bins(pred, mag_r, spread), -1)
    rows = np.flatnonzero(bins >= 0)
    scale = calibration.scale(pred, spread)[rows]
    residuals = residuals_of(spec[rows] - pred[rows], scale)
    pit, crps, cde = (np.empty(len(rows)) for _ in range(3))
    for each in np.unique(bins[rows]):
        inside = bins[rows] == each
        pit[inside], crps[inside], cde[inside] = _of_bin(calibration.flat[each], residuals[inside], scale[inside])
    return Scores(rows, pit, crps, cde)


def _of_bin(
    quantiles: np.ndarray, residuals: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PIT, CRPS and CDE term of residuals that share one distribution; a unit of it is `scale`, below and above 0."""
    low, high = quantiles[0], quantiles[-1]
    grid = np.unique(np.concatenate([np.linspace(low, high, _GRID), quantiles]))
    cdf = np.clip(MonotoneCubic(quantiles, LEVELS)(grid), 0.0, 1.0)
    density = density_of(quantiles, grid)

    def each_side(integrand: np.ndarray, start: Any, end: Any) -> np.ndarray:
        """The integral from start to end over redshift: what lies below 0 and above it, each in its unit."""
        summed = _summed(integrand, grid)
        below, above = (
            np.interp(clip(end, 0), grid, summed) - np.interp(clip(start, 0), grid, summed)
            for clip in (np.minimum, np.maximum)
        )
        whole: np.ndarray = below * scale[:, 0] + above * scale[:, 1]
        return whole

    inside = np.clip(residuals, low, high)
    beyond = np.abs(residuals - inside) * np.where(residuals < 0, scale[:, 0], scale[:, 1])
    crps = each_side(cdf**2, low, inside) + each_side((1 - cdf) ** 2, inside, high) + beyond
    scale = 1 / scale
    cde = each_side(density**2, low, high) - 2 * density_of(quantiles, residuals) * np.where(
        residuals < 0, scale[:, 0], scale[:, 1]
    )
    return np.interp(residuals, grid, cdf), crps, cde


def _summed(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The integral up to each point of the grid, by the trapezoidal rule; 0 at the first."""
    return np.concatenate([[0.0], np.cumsum(np.diff(grid) * (values[1:] + values[:-1]) / 2)])


def covered(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Whether z_spec lies within the interval, by level: (N,) of 1, 0 and NaN where there is no interval or z_spec."""
    z_spec = rows["z_spec"].to_numpy(np.float64)
    found = {}
    for level in PROMISED:
        low, high = (rows[f"z_err{level}_{end}"].to_numpy(np.float64) for end in ("low", "high"))
        inside = ((z_spec >= low) & (z_spec <= high)).astype(float)
        found[level] = np.where(REDSHIFT.measured(z_spec) & np.isfinite(low) & np.isfinite(high), inside, np.nan)
    return found


def has_intervals(rows: pd.DataFrame) -> bool:
    """Whether the table has the columns of the intervals, and a galaxy that has both an interval and a z_spec."""
    return set(BOUNDS) <= set(rows.columns) and bool(np.isfinite(covered(rows)["68"]).any())


def interval_scores(rows: pd.DataFrame, calibration: Calibration | None = None) -> dict[str, float]:
    """Coverage and width of the intervals, and with the calibration the scores of p(z).

    Args:
        rows: z_pred, z_spec, the magnitude and the columns of BOUNDS; at least one galaxy has an interval and a z_spec.
        calibration: that the intervals come from.
    """
    found: dict[str, float] = {}
    for level, inside in covered(rows).items():
        known = np.isfinite(inside)
        width = (rows[f"z_err{level}_high"] - rows[f"z_err{level}_low"]).to_numpy(np.float64)[known]
        found |= {f"coverage_{level}": float(inside[known].mean()), f"width_{level}": float(np.median(width))}
    found["with_interval"] = int(np.isfinite(covered(rows)["68"]).sum())
    if calibration is not None:
        names = ("z_pred", "z_spec", magnitude_of(rows.columns))
        z_pred, z_spec, magnitude = (rows[name].to_numpy(np.float64) for name in names)
        scores = score(calibration, z_pred, z_spec, magnitude, own_spread(rows))
        sorted_pit = np.sort(scores.pit)
        steps = np.arange(len(sorted_pit) + 1) / len(sorted_pit)
        found |= {
            "crps": float(scores.crps.mean()),
            "cde_loss": float(scores.cde.mean()),
            "pit_ks": float(max((steps[1:] - sorted_pit).max(), (sorted_pit - steps[:-1]).max())),
        }
    return found


_STATS = (
    ("coverage_68", "Coverage of the 68 % interval", percent, "share of z_spec within; 68.27 % is promised"),
    ("coverage_95", "Coverage of the 95 % interval", percent, "share of z_spec within; 95 % is promised"),
    ("width_68", "Width of the 68 % interval", number, "median, in redshift"),
    ("width_95", "Width of the 95 % interval", number, "median, in redshift"),
    ("crps", "CRPS", number, "continuous ranked probability score of p(z), mean, in redshift; smaller is better"),
    ("cde_loss", "CDE loss", number, "mean of the integral of p(z) squared minus 2 p(z_spec); smaller is better"),
    ("pit_ks", "PIT, Kolmogorov-Smirnov", number, "largest distance of the PIT's distribution from the uniform one"),
    ("with_interval", "Galaxies with an interval", number, "and a spectroscopic redshift"),
)


def interval_stats(scores: Mapping[str, float]) -> list[Stat]:
    """The scores as a page shows them."""
    return [Stat(label, show(scores[key]), how) for key, label, show, how in _STATS if key in scores]


def scores_table(scores: Mapping[str, float]) -> Table:
    """The scores, each with what it is."""
    columns = (
        Column("label", "Uncertainty", str, text=True),
        Column("value", "Value", str),
        Column("how", "What it is", str, text=True, wide=True),
    )
    return Table("scores", "Intervals and p(z)", columns, [stat._asdict() for stat in interval_stats(scores)], "")


def coverage_in_bins(values: np.ndarray, rows: pd.DataFrame, bins: int) -> list[Row]:
    """Coverage in bins of a quantity, a row for each bin with enough galaxies.

    Args:
        values: the quantity, (N,).
        rows: z_spec and the columns of BOUNDS, N rows.
        bins: about how many (`tasks.photoz.metric_intervals.edges_of`).
    """
    inside = covered(rows)
    known = np.isfinite(inside["68"]) & np.isfinite(values)
    edges = edges_of(values[known], bins)
    found = []
    for low, high in pairwise(edges):
        chosen = known & (values >= low) & (values < high)
        if chosen.sum() >= _FEWEST:
            row: Row = {"low": float(low), "high": float(high), "samples": int(chosen.sum())}
            for level in PROMISED:
                row[f"coverage_{level}"] = float(inside[level][chosen].mean())
                width = (rows[f"z_err{level}_high"] - rows[f"z_err{level}_low"]).to_numpy(np.float64)[chosen]
                row[f"width_{level}"] = float(np.median(width))
            found.append(row)
    return found


def coverage_table(name: str, title: str, rows: list[Row]) -> Table:
    """Coverage in bins of one quantity."""
    columns = (
        Column("range", title, str, text=True),
        Column("samples", "Galaxies"),
        Column("coverage_68", "68 % interval covers", percent),
        Column("coverage_95", "95 % interval covers", percent),
        Column("width_68", "68 % interval, median width"),
        Column("width_95", "95 % interval, median width"),
    )
    shown = [row | {"range": span(row["low"], row["high"])} for row in rows]
    caption = (
        "The share of galaxies whose spectroscopic redshift lies within the interval. In a bin of n galaxies, chance"
        " alone moves it by about 47 / sqrt(n) % (68 %) and 22 / sqrt(n) % (95 %)."
    )
    return Table(name, f"Coverage in bins of {title}", columns, shown, caption)

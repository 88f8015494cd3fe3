"""How good redshifts are, from a run or any catalogue: the tables, the pictures and a page of both."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from inference.contract import plausible
from inference.contract.sample import R_BAND
from inference.contract.survey_facts import MAGNITUDE_PREFIX
from inference.contract.survey_facts import R_MAGNITUDE as MAGNITUDE
from inference.errors import BadInput
from inference.storage.atomic_write import atomic_write
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.magnitude import magnitude_of, title_of
from tasks.photoz.metric_intervals import (
    BINS,
    LEVEL,
    SEED,
    bins_table,
    intervals,
    metrics_in_bins,
    metrics_table,
    resamples_for,
)
from tasks.photoz.metrics import photoz_metrics
from tasks.photoz.scores import (
    coverage_in_bins,
    coverage_table,
    has_intervals,
    interval_scores,
    score,
    scores_table,
)
from tasks.photoz.spread import own_spread
from tasks.reporting.page import render_page
from tasks.reporting.table import Row, Table
from tasks.survey.column_names import PREDICTION, R_MAGNITUDE, REDSHIFT
from tasks.survey.columns import ColumnOptions, Resolver
from tasks.survey.doubts import redshift_doubts
from tasks.survey.object_table import TableReader
from tasks.survey.table_file import read_table_file
from tasks.survey.units import MAGNITUDES, NO_UNIT

if TYPE_CHECKING:
    from tasks.reporting.figures import Picture

_OWN_MAGNITUDE = re.compile(f"{MAGNITUDE_PREFIX}[A-Za-z0-9_]+")
QUANTITIES = {"z_spec": "spectroscopic redshift", "z_pred": "predicted redshift"}


@dataclass(frozen=True)
class Quality:
    """Metrics, their intervals, and the same in bins.

    Attributes:
        of: what was looked at.
        rows: z_pred, z_spec and, where known, a magnitude (`tasks.photoz.magnitude`).
        metrics: by name (`tasks.photoz.metrics`).
        spread: low and high end of each metric's 95 % interval.
        bins: rows of `tasks.photoz.metric_intervals.metrics_in_bins` by quantity.
        scores: of the intervals and p(z) (`tasks.photoz.scores.interval_scores`); empty where there are none.
        coverage: rows of `tasks.photoz.scores.coverage_in_bins` by quantity.
        pit: probability integral transforms, (M,), where the calibration is known.
    """

    of: str
    rows: pd.DataFrame
    metrics: dict[str, float | None]
    spread: dict[str, tuple[float, float]]
    bins: dict[str, list[Row]]
    scores: dict[str, float]
    coverage: dict[str, list[Row]]
    pit: np.ndarray | None = None

    def tables(self) -> list[Table]:
        """The metrics, the scores of the intervals, then a table of each for each quantity."""
        tables = [metrics_table(self.metrics, self.spread)]
        if self.scores:
            tables.append(scores_table(self.scores))
        for name, rows in self.coverage.items():
            tables.append(coverage_table(f"coverage-{name.replace('_', '-')}", _titled(name), rows))
        for name, rows in self.bins.items():
            tables.append(bins_table(name.replace("_", "-"), _titled(name), rows))
        return tables

    def pictures(self) -> "dict[str, Picture]":
        """SVG and caption by name."""
        from tasks.photoz.plots import PIT_CAPTION, binned_metrics, pit_histogram, redshift_pictures
        from tasks.reporting.figures import Picture

        names = ("density", "residuals", "distributions")
        drawn = dict(zip(names, redshift_pictures(self.rows, self.metrics), strict=True))
        if self.pit is not None:
            drawn["pit"] = Picture(pit_histogram(self.pit), PIT_CAPTION)
        for name, rows in self.bins.items():
            file = f"bins-{name.replace('_', '-')}"
            caption = f"Metrics in bins of {_titled(name)}, placed at each bin's median, with 95 % intervals."
            drawn[file] = Picture(binned_metrics(rows, _titled(name), file), caption)
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the metrics, their intervals and how these were obtained, the bins."""
        compared = int(self.metrics["samples"] or 0)
        how = {"level": LEVEL, "method": "percentile bootstrap over galaxies", "resamples": resamples_for(compared)}
        return {
            "of": self.of,
            "metrics": self.metrics,
            "intervals": {name: list(ends) for name, ends in self.spread.items()},
            "interval": how | {"seed": SEED},
            "bins": self.bins,
            "scores": self.scores,
            "coverage": self.coverage,
        }


def _titled(quantity: str) -> str:
    return QUANTITIES.get(quantity) or title_of(quantity)


def quality_of(rows: pd.DataFrame, of: str, bins: int = BINS, calibration: Calibration | None = None) -> Quality:
    """Measure.

    Args:
        rows: z_pred and z_spec, a magnitude and the columns of the intervals where known; a row for each object.
        of: what they are, for messages and headings.
        bins: about how many in each quantity.
        calibration: that the intervals come from, where it is known.

    Raises:
        BadInput: no spectroscopic redshift is known, or a prediction is not finite.
    """
    pred, spec = rows["z_pred"].to_numpy(np.float64), rows["z_spec"].to_numpy(np.float64)
    metrics = photoz_metrics(pred, spec)
    if metrics is None:
        known = int(plausible.REDSHIFT.measured(spec).sum())
        lacking = (
            f"none of its {known:,} galaxies with a spectroscopic redshift has a prediction"
            if known
            else ("it knows no spectroscopic redshift")
        )
        raise BadInput(f"there is nothing to compare in {of}: {lacking}")
    magnitude = magnitude_of(rows.columns)
    there = {name: rows[name].to_numpy(np.float64) for name in (*QUANTITIES, magnitude) if name in rows}
    scored = has_intervals(rows)
    return Quality(
        of,
        rows,
        metrics,
        intervals(pred, spec),
        {name: found for name, values in there.items() if (found := metrics_in_bins(values, pred, spec, bins))},
        interval_scores(rows, calibration) if scored else {},
        {name: found for name, values in there.items() if scored and (found := coverage_in_bins(values, rows, bins))},
        score(calibration, pred, spec, there[magnitude], own_spread(rows)).pit
        if scored and calibration is not None
        else None,
    )


def read_table(path: Path, options: ColumnOptions) -> tuple[pd.DataFrame, Resolver]:
    """The redshifts of any table that `tasks.survey.table_file` reads.

    Returns:
        z_pred, z_spec (NaN where unknown) and, where they are there, magnitudes as mag_r (or the band's own name) and
        the columns of BOUNDS;
        what was taken for what.

    Raises:
        BadInput: naming the file: it cannot be read, lacks a column, has two candidates for one, or no numbers there.
    """
    table = read_table_file(path, options.hdu)
    reader = TableReader(str(path), table)
    found = reader.resolver
    prediction = found.required(PREDICTION, options.prediction)
    spectroscopic = found.find(REDSHIFT, options.redshift) or found.redshift(None, reader.holds_redshifts)
    if spectroscopic is None:
        found.required(REDSHIFT)
    if table.frame.empty:
        raise BadInput(f"{path} has no rows")
    rows = {"z_pred": reader.numbers(prediction, NO_UNIT), "z_spec": reader.numbers(str(spectroscopic), NO_UNIT)}
    of = ((spectroscopic, "z_spec", plausible.REDSHIFT), (prediction, "z_pred", plausible.PREDICTION))
    found.notes += [doubt for name, key, kind in of for doubt in redshift_doubts(str(name), rows[key], kind)]
    asked = options.magnitudes
    brightness = found.find(R_MAGNITUDE, None if asked is None else asked[R_BAND % len(asked)])
    own = [name for name in map(str, table.frame) if _OWN_MAGNITUDE.fullmatch(name)]
    column = MAGNITUDE
    if brightness is None and len(own) == 1:  # of a survey without r, as `cosmic catalogue` writes it
        brightness = column = found.used[title_of(own[0])] = own[0]
    if brightness is not None:
        magnitudes = reader.numbers(brightness, MAGNITUDES)
        rows[column] = np.where(plausible.MAGNITUDE.measured(magnitudes), magnitudes, np.nan)
    for bound in (name for name in BOUNDS if name in table.frame):
        rows[bound] = reader.numbers(bound, NO_UNIT)
    return pd.DataFrame(rows), found


def page(quality: Quality, pictures: "Mapping[str, Picture] | None" = None) -> str:
    """All of it as one HTML document without scripts or outside resources.

    Args:
        quality: what was measured.
        pictures: of it, where they have been drawn already.
    """
    drawn = quality.pictures() if pictures is None else pictures
    return render_page("photoz.html", of=quality.of, tables=quality.tables(), pictures=list(drawn.values()))


def write(quality: Quality, folder: Path) -> list[Path]:
    """Write metrics.json, metrics.csv and a CSV for each quantity's bins, the pictures as SVG, and metrics.html.

    Raises:
        StoreError: the folder cannot be written.
    """
    pictures = quality.pictures()
    files: dict[str, str] = {
        "metrics.html": page(quality, pictures),
        "metrics.json": json.dumps(quality.to_dict(), indent=1),
    }
    ends = {name: quality.spread.get(name, (None, None)) for name in quality.metrics}
    plain = [
        {"metric": name, "value": value, "low": ends[name][0], "high": ends[name][1]}
        for name, value in quality.metrics.items()
    ]
    files["metrics.csv"] = pd.DataFrame(plain).to_csv(index=False)
    for kind, tables in (("bins", quality.bins), ("coverage", quality.coverage)):
        for name, rows in tables.items():
            files[f"{kind}-{name.replace('_', '-')}.csv"] = pd.DataFrame(rows).to_csv(index=False)
    files |= {f"{name}.svg": svg for name, (svg, _) in pictures.items()}
    for name, text in files.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(text)
    return [folder / name for name in files]

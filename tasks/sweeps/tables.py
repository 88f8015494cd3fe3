"""The tables of a sweep, and their forms: CSV, JSON, Markdown, terminal and artifact."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tasks.reporting.formatting import number, percent, usd
from tasks.reporting.table import SPREAD, Column, Row, Table, as_text
from tasks.sweeps.cells import AXES, Cell, format_axis_value, groups_along, rank_of_value, varying
from tasks.sweeps.run_metrics import METRICS, REST, STAGES, ranks_of_run, shares
from tasks.sweeps.statistics import mean_interval, ratio_interval, without_outliers

OUTLIERS = "those more than 1.5 interquartile ranges outside the quartiles"


def _metric(
    name: str, title: str | None = None, show: Callable[[Any], str] = number, *, detail: bool = False
) -> Column:
    metric = METRICS[name]
    unit = f" {metric.unit}" if metric.unit and metric.unit != "USD" else ""
    return Column(name, title or f"{metric.title}{unit}", show, spread=True, detail=detail)


_SPEED = (_metric("makespan_s"), _metric("samples_per_s", "Samples/s"), _metric("mbit_per_s", "Mbit/s", detail=True))
_MEMORY = _metric("peak_memory_mb", detail=True)
_COST = _metric("usd", show=usd)
COLUMNS: dict[str, Sequence[Column]] = {
    "batch_size": (_SPEED[0], _metric("batch_s"), *_SPEED[1:], _MEMORY),
    "partition_size": (*_SPEED, _metric("batch_s"), _MEMORY, _metric("concurrent_ranks", detail=True), _COST),
    "data_size": (
        _metric("samples"),
        _SPEED[0],
        _SPEED[1],
        _COST,
        _metric("usd_per_million", "Cost per million samples", usd),
    ),
}
_OTHERWISE = (*_SPEED, _MEMORY, _COST)
TITLES = {
    "batch_size": "Execution time against batch size",
    "partition_size": "Execution time, throughput, memory and concurrent ranks against partition size",
    "data_size": "Cost against data size",
}


def tables_of(cells: Sequence[Cell]) -> list[Table]:
    """A table for every axis that varies, executors side by side, and the ranks of every cell.

    Args:
        cells: of a sweep (`tasks.sweeps.cells.cells_of`), at least one with a whole run.
    """
    whole = [cell for cell in cells if cell.runs]
    axes = [axis for axis in varying(whole) if axis != "executor"]
    tables = [along(cells, axis) for axis in axes] or [along(cells, None)]
    if len({cell.axes.get("executor") for cell in whole}) > 1:
        tables.append(by_executor(whole))
    return [*tables, of_ranks(whole)]


def spread_of(cell: Cell, metric: str) -> Row:
    """A figure's mean over the runs of a cell, with the ends of its 95 % interval where there are two runs."""
    values = cell.values(metric)
    if not values:
        return {metric: None}
    mean = mean_interval(values)
    return {metric: mean.mean, f"{metric}_low": mean.low, f"{metric}_high": mean.high}


def along(cells: Sequence[Cell], axis: str | None) -> Table:
    """The cells in the order of one axis, what else varies coming after it; None for a table of all."""
    names = [name for name in varying(cells) if name != axis]
    names = [axis, *names] if axis else names
    metrics = COLUMNS.get(axis or "", _OTHERWISE)
    rows = []
    for cell in sorted(cells, key=lambda cell: [rank_of_value(name, cell.axes.get(name)) for name in names]):
        row: Row = {name: cell.axes.get(name) for name in names} | {"runs": len(cell.runs), "failed": len(cell.failed)}
        for column in metrics:
            row |= spread_of(cell, column.key)
        rows.append(row)
    columns = [
        *(_axis(name) for name in names),
        Column("runs", "Runs"),
        *([Column("failed", "Failed")] if any(row["failed"] for row in rows) else []),
        *metrics,
    ]
    title = TITLES.get(axis or "", f"Time, throughput, memory and cost against {AXES[axis].lower()}" if axis else "")
    notes = [METRICS[column.key] for column in metrics]
    caption = " ".join(
        [f"{note.title}: {note.how}." for note in {note.title: note for note in notes}.values()] + [SPREAD]
    )
    if any(column.key == "batch_s" for column in metrics):
        caption += f" Of the ranks' times, {OUTLIERS} are left out before the mean is taken."
    return Table(axis or "cells", title or "All cells", columns, rows, caption)


def _axis(axis: str) -> Column:
    def value(value: Any) -> str:
        if isinstance(value, int):
            return f"{value:,}{' MB' if axis == 'memory_mb' else ''}"
        return format_axis_value(axis, value)

    return Column(axis, AXES[axis], value, text=axis in {"engine", "executor", "access", "format"})


_COMPARED = (
    ("makespan_s", ""),
    ("batch_s", ""),
    ("mbit_per_s", ""),
    ("samples_per_s", "the same as Mbit/s, as 1 sample is 164,160 bits"),
    ("cpu_rank_s", ""),
    ("peak_memory_mb", ""),
    ("usd", "of ranks that ran elsewhere: what the same seconds would have cost on AWS Lambda"),
    ("cluster_usd", ""),
    ("core_s_allocated", ""),
    ("core_s_used", ""),
)


def by_executor(cells: Sequence[Cell]) -> Table:
    """Executors side by side, metric by metric, with the ratio and what each number is."""
    executors = sorted({str(cell.axes.get("executor")) for cell in cells}, key=lambda name: (name != "local", name))
    base, others = executors[0], executors[1:]
    rows = []
    for label, group in groups_along(cells, "executor").items():
        of = {str(cell.axes.get("executor")): cell for cell in group}
        for name, note in _COMPARED:
            if not any(cell.values(name) for cell in group):
                continue  # there is no cluster, or its cores have no price
            metric = METRICS[name]
            row: Row = {"cell": label, "metric": f"{metric.title}, {metric.unit}", "note": note or metric.how}
            for executor, cell in of.items():
                row |= {key.replace(name, executor, 1): value for key, value in spread_of(cell, name).items()}
            for other in others:
                pair = [of[side].values(name) if side in of else [] for side in (base, other)]
                if all(pair):
                    ratio = ratio_interval(*pair)
                    row |= {f"{other}_ratio": ratio.ratio, f"{other}_ratio_low": ratio.low}
                    row |= {f"{other}_ratio_high": ratio.high}
            rows.append(row)
    columns = [
        *([Column("cell", "Cell", as_text, text=True)] if len({row["cell"] for row in rows}) > 1 else []),
        Column("metric", "Metric", as_text, text=True),
        *(Column(executor, executor, spread=True) for executor in executors),
        *(Column(f"{other}_ratio", f"{other} : {base}", spread=True) for other in others),
        Column("note", "Note", as_text, text=True, wide=True),
    ]
    return Table("executor", _side_by_side(executors), columns, rows, SPREAD)


def _side_by_side(executors: Sequence[str]) -> str:
    return "Executors side by side" if "dask" in executors else "Local processes against AWS"


def of_ranks(cells: Sequence[Cell]) -> Table:
    """How long the ranks of each cell took, over all its runs, and on what; cold ranks apart from warm ones."""
    names = varying(cells)
    rows = []
    for cell in cells:
        ranks = [row for run in cell.runs for row in ranks_of_run(run.document)]
        for start in ("warm", "cold"):
            chosen = [row for row in ranks if row["cold"] == (start == "cold")]
            if not chosen:
                continue
            seconds = np.array([row["wall_total_s"] for row in chosen], dtype=float)
            kept = without_outliers(seconds.tolist())
            rows.append(
                {name: cell.axes.get(name) for name in names}
                | {"start": start, "ranks": len(chosen), "outliers": len(chosen) - len(kept)}
                | {
                    key.replace(f"{start}_rank_s", "mean_s", 1): value
                    for key, value in spread_of(cell, f"{start}_rank_s").items()
                }
                | {"median_s": float(np.median(seconds)), "p95_s": float(np.quantile(seconds, 0.95))}
                | {"max_s": float(seconds.max())}
                | {f"share_{stage}": share for stage, share in shares(chosen).items()}
            )
    titles = {"load": "Loading", "read": "Reading", "compute": "Computing", "write": "Writing", REST: "Waiting"}
    columns = [
        *(_axis(name) for name in names),
        Column("start", "Start", as_text, text=True),
        Column("ranks", "Ranks"),
        Column("outliers", "Outliers", detail=True),
        Column("mean_s", "Mean s", spread=True),
        *(Column(f"{key}_s", f"{title} s") for key, title in (("median", "Median"), ("p95", "p95"), ("max", "Max"))),
        *(Column(f"share_{stage}", titles[stage], percent, detail=True) for stage in (*STAGES, REST)),
    ]
    caption = (
        f"Wall time of ranks over all runs of a cell. The mean leaves out outliers, {OUTLIERS}; median,"
        " 95th percentile, maximum and shares count every rank. A cold rank was the first of its process and loaded the"
        " engine; cold and warm ranks are never averaged together. Shares are of the ranks' wall time; waiting is"
        f" what no stage accounts for. {SPREAD}"
    )
    return Table("ranks", "Ranks: how long, and on what", columns, rows, caption)

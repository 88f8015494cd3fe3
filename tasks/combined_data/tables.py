"""The tables of archived runs: each run by itself, and the mean of its repeats as published analyses take it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.contract.sample import SAMPLES_PER_MB
from tasks.combined_data.find import ArchivedRun
from tasks.combined_data.records import run_of
from tasks.reporting.formatting import DASH, number
from tasks.reporting.table import Column, Row, Table, as_text
from tasks.sweeps.statistics import mean_interval, without_outliers
from tasks.sweeps.tables import OUTLIERS

DEFINITIONS = {
    "records": ("Records", "ranks that left a result"),
    "planned": ("Planned", "ranks that the run should have had, where that is known"),
    "samples": ("Samples", "galaxies, all ranks together"),
    "gigabytes": ("Data GB", "51.13 samples a MB, 1,024 MB a GB"),
    "bits": ("Bits", "of model input: each record's rate times its time"),
    "mean_s": ("Mean of ranks s", f"inference loop of a rank, without outliers: {OUTLIERS}"),
    "dropped": ("Outliers", "ranks left out of that mean"),
    "median_s": ("Median s", "of all ranks"),
    "p95_s": ("p95 s", "of all ranks, interpolated linearly"),
    "max_s": ("Slowest s", "the rank that the whole run waits for"),
    "batch_s": ("Batch s", "the mean over its batches of that size: loop x batch size / samples, without outliers"),
    "sum_gbps": ("Sum of rates Gbit/s", "as if all ranks had run at once; no speed of the run"),
    "makespan_s": ("Makespan s", "first rank's start to last rank's end: by their records, or sacct; else not known"),
    "wall_gbps": ("Over makespan Gbit/s", "what the run really moved"),
}
_IN_BRIEF = ("records", "planned", "samples", "mean_s", "median_s", "max_s", "sum_gbps", "makespan_s", "wall_gbps")
_DETAILS = ("planned", "median_s", "max_s", "sum_gbps")


def figures(run: ArchivedRun) -> Row:
    """The figures of a run (DEFINITIONS); None where its records do not tell."""
    records = run.records
    row: Row = dict.fromkeys(DEFINITIONS)
    row |= {"run": run.name, "records": len(records), "planned": run.planned.ranks if run.planned else None}
    if not records:
        return row
    seconds = [record.seconds for record in records]
    kept = without_outliers(seconds)
    batches = without_outliers([record.seconds * record.batch_size / record.samples for record in records])
    bits = math.fsum(record.bits for record in records)
    samples = sum(record.samples for record in records)
    row |= {
        "result_path": records[0].result_path,
        "samples": samples,
        "gigabytes": samples / SAMPLES_PER_MB / 1024,
        "bits": round(bits),
        "mean_s": float(np.mean(kept)),
        "dropped": len(seconds) - len(kept),
        "median_s": float(np.median(seconds)),
        "p95_s": float(np.percentile(seconds, 95)),
        "max_s": max(seconds),
        "batch_s": float(np.mean(batches)),
        "sum_gbps": math.fsum(record.bits / record.seconds for record in records) / 1e9,
    }
    starts = [record.started_at for record in records if record.started_at is not None]
    ends = [record.ended_at for record in records if record.ended_at is not None]
    makespan = run.wall_s
    if len(starts) == len(records) == len(ends) and max(ends) > min(starts):
        makespan = max(ends) - min(starts)
    if makespan:
        row |= {"makespan_s": makespan, "wall_gbps": bits / makespan / 1e9}
    return row


def runs_table(rows: Sequence[Row]) -> Table:
    """One row a run, of `figures`; what is less often asked for is left to `facts`."""
    known = [key for key in _IN_BRIEF if any(row.get(key) is not None for row in rows)]
    columns = [
        Column("run", "Run", _short, text=True),
        *(Column(key, DEFINITIONS[key][0], _shown, detail=key in _DETAILS) for key in known),
    ]
    caption = " ".join(f"{DEFINITIONS[key][0]}: {DEFINITIONS[key][1]}." for key in known)
    return Table("runs", "Runs", columns, rows, caption)


def repeats_table(rows: Sequence[Row]) -> Table | None:
    """The mean over repeats, runs whose result paths differ by their number only; None without repeats."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("result_path"):
            groups.setdefault(run_of([row["result_path"]]), []).append(row)
    if all(len(group) == 1 for group in groups.values()):
        return None
    keys = ("mean_s", "batch_s", "sum_gbps", "makespan_s", "wall_gbps")
    found = [_mean_row(name, group, keys) for name, group in groups.items()]
    shown = [key for key in keys if any(row.get(key) is not None for row in found)]
    columns = [
        Column("run", "Result path", as_text, text=True),
        Column("runs", "Runs"),
        *(Column(key, DEFINITIONS[key][0], spread=True, detail=key == "sum_gbps") for key in shown),
    ]
    caption = "Each number is the mean over the runs; after ± half its 95 % interval (Student's t)."
    return Table("repeats", "Repeats", columns, found, caption)


def _mean_row(name: str, group: Sequence[Row], keys: Sequence[str]) -> Row:
    row: dict[str, Any] = {"run": name, "runs": len(group)}
    for key in keys:
        values = [each[key] for each in group if each.get(key) is not None]
        if values:
            mean = mean_interval(values)
            row |= {key: mean.mean, f"{key}_low": mean.low, f"{key}_high": mean.high}
    return row


def _short(name: str) -> str:
    return name.removesuffix("/combined_data.json")


def _shown(value: Any) -> str:
    return DASH if value is None else number(value, digits=5)


def facts(row: Row) -> list[tuple[str, str, str]]:
    """A single run's figures as lines: name, value, definition."""
    lines = [(DEFINITIONS[key][0], _shown(row[key]), DEFINITIONS[key][1]) for key in DEFINITIONS]
    return [line for line in lines if line[1] != DASH]

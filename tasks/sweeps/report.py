"""The report of a sweep: its tables, plots and findings as files, as one HTML page, and as artifacts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from inference.contract.counted import counted
from tasks.reporting.formatting import number, usd
from tasks.reporting.page import Stat, render_page
from tasks.reporting.table import Table
from tasks.sweeps.cells import AXES, Cell, Measurement, cells_of
from tasks.sweeps.findings import findings_of, recommendation_of
from tasks.sweeps.machine import describe_machine, machine_line
from tasks.sweeps.plots import Plot
from tasks.sweeps.tables import tables_of

DOCUMENT, REPORT = "sweep.json", "report.html"


def describe_sweep(name: str, description: str, measured: Sequence[Measurement]) -> dict[str, Any]:
    """The sweep's document: findings, tables, the failed runs, and every measurement."""
    cells = cells_of(measured)
    return {
        "sweep": name,
        "description": description,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cells": len(cells),
        "runs": len(measured),
        "machine": describe_machine(),
        "failed": [
            {"axes": dict(run.axes), "repeat": run.repeat, "error": run.failed} for run in measured if run.failed
        ],
        "findings": findings_of(cells),
        "recommendation": recommendation_of(cells),
        "tables": {table.name: table.to_dict() for table in tables_of_sweep(cells)},
        "measurements": [run.to_dict() for run in measured],
    }


def measured_on(document: dict[str, Any]) -> str:
    """How often, when and on what machine it was measured."""
    count = f"{counted(document['runs'], 'run')} of {counted(document['cells'], 'cell')}"
    where = f"written {document['created']} on {machine_line(document['machine'])}"
    return f"{count}, {where}. Local ranks ran there, ranks of Lambda in AWS."


def tables_of_sweep(cells: Sequence[Cell]) -> list[Table]:
    """Its tables; none where every run failed."""
    return tables_of(cells) if any(cell.runs for cell in cells) else []


def render_sweep(document: dict[str, Any], tables: Sequence[Table], plots: Sequence[Plot]) -> str:
    """The report as one HTML document without scripts or outside resources."""
    return render_page(
        "sweep.html",
        document=document,
        machine=machine_line(document["machine"]),
        recommended=_recommended(document.get("recommendation")),
        findings=document["findings"][: -1 if document.get("recommendation") else None],
        tables=tables,
        plots=plots,
        failed=[(which, why, "") for which, why in failed_runs(document)],
    )


def _recommended(found: dict[str, Any] | None) -> list[Stat]:
    """The figures of the cell that is recommended, and how sure that is."""
    if found is None:
        return []
    return [
        Stat("Makespan", number(found["makespan_s"], "s"), "mean of its runs"),
        Stat("Samples per second", number(found["samples_per_s"]), "over the makespan"),
        Stat("Peak memory", number(found["peak_memory_mb"], "MB"), "of the rank that used most"),
        Stat("Cost", usd(found["usd"]), "of one run; local ranks as if on AWS Lambda"),
        Stat("Confidence", found["confidence"].capitalize(), found["why"][:1].upper() + found["why"][1:]),
    ]


def failed_runs(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Which runs failed, named by what varies among all, and why."""
    cells = cells_of(Measurement(run["axes"], run["repeat"], {}, run["failed"]) for run in document["measurements"])
    names = [axis for axis in AXES if len({cell.axes.get(axis) for cell in cells}) > 1]
    return [
        (f"{Cell(run['axes'], ()).label(names)}, run {run['repeat']}", str(run["error"])) for run in document["failed"]
    ]

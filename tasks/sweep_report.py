"""The report of a sweep: its tables, plots and findings as files, as one HTML page, and as artifacts."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE
from rich.console import Console

from inference.errors import StoreError
from inference.store import Store
from tasks import display
from tasks.display import plain
from tasks.findings import findings_of
from tasks.machine import describe, described
from tasks.measurement import AXES, Cell, Measurement, cells_of
from tasks.plots import Plot, plots_of
from tasks.policy import STEP_RETRIES, worth_retrying
from tasks.report import TEMPLATES
from tasks.sweep import Sweep
from tasks.tables import Table, tables_of

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
        "machine": describe(),
        "failed": [
            {"axes": dict(run.axes), "repeat": run.repeat, "error": run.failed} for run in measured if run.failed
        ],
        "findings": findings_of(cells),
        "tables": {table.name: table.to_dict() for table in _tables(cells)},
        "measurements": [run.to_dict() for run in measured],
    }


def measured_on(document: dict[str, Any]) -> str:
    """How often, when and on what machine it was measured."""
    count = f"{document['runs']} runs of {document['cells']} cells"
    where = f"written {document['created']} on {described(document['machine'])}"
    return f"{count}, {where}. Local ranks ran there, ranks of Lambda in AWS."


def _tables(cells: Sequence[Cell]) -> list[Table]:
    return tables_of(cells) if any(cell.runs for cell in cells) else []


def render_sweep(document: dict[str, Any], tables: Sequence[Table], plots: Sequence[Plot]) -> str:
    """The report as one HTML document without scripts or outside resources.

    Args:
        document: of `describe_sweep`.
        tables: shown in this order.
        plots: likewise.
    """
    return TEMPLATES.get_template("sweep.html").render(
        document=document,
        machine=described(document["machine"]),
        tables=tables,
        plots=plots,
        failed=_failed(document),
        display=display,
    )


def _failed(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Which runs failed, told by what varies among all, and why."""
    cells = cells_of(Measurement(run["axes"], run["repeat"], {}, run["failed"]) for run in document["measurements"])
    names = [axis for axis in AXES if len({cell.axes.get(axis) for cell in cells}) > 1]
    return [
        (f"{Cell(run['axes'], ()).label(names)}, run {run['repeat']}", str(run["error"])) for run in document["failed"]
    ]


def show(document: dict[str, Any], console: Console) -> None:
    """Print a sweep's tables, findings and failures.

    Args:
        document: of `publish_sweep`.
        console: to print on.
    """
    measured = [
        Measurement(run["axes"], run["repeat"], run["document"], run["failed"]) for run in document["measurements"]
    ]
    for table in _tables(cells_of(measured)):
        console.print(table.to_rich(console.width))
    for sentence in document["findings"]:
        console.print(f"* {sentence}", highlight=False, markup=False)
    for which, why in _failed(document):
        console.print(f"FAILED {which}: {why}", style="red", highlight=False, markup=False)
    if document.get("report"):
        console.print(f"report: {document['report']}", highlight=False, markup=False)


@task(
    name="publish sweep",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def publish_sweep(
    sweep: Sweep, measured: Sequence[Measurement], store_root: str, results: str | None
) -> dict[str, Any]:
    """Write the sweep's tables, plots and report, and publish them as artifacts.

    Args:
        sweep: what was measured.
        measured: its runs, the failed ones too.
        store_root: root of the store; all is written to `sweeps/<name>/` in the sweep's bucket.
        results: a folder that gets the same files, or None.

    Returns:
        The sweep's document (`describe_sweep`), with `report`, the place of its page.

    Raises:
        StoreError: the store or the folder cannot be written.
    """
    cells = cells_of(measured)
    tables, plots = _tables(cells), plots_of(cells)
    bucket, folder, store = str(sweep.request["bucket"]), f"sweeps/{sweep.name}", Store(store_root)
    path = store.local_path(bucket, f"{folder}/{REPORT}")
    document = describe_sweep(sweep.name, sweep.description, measured) | {
        "report": str(path) if path is not None else f"s3://{bucket}/{folder}/{REPORT}"
    }
    files = _files(document, tables, plots)
    for name, content in files.items():
        store.write(bucket, f"{folder}/{name}", content)
    if results is not None:
        _write_folder(Path(results), files)
    _publish(sweep.name, document, tables, plots, path)
    return document


def _files(document: dict[str, Any], tables: Sequence[Table], plots: Sequence[Plot]) -> dict[str, bytes]:
    files = {
        DOCUMENT: _json(document),
        REPORT: render_sweep(document, tables, plots).encode(),
        "findings.md": _markdown(document, tables).encode(),
    }
    for table in tables:
        files[f"tables/{table.name}.csv"] = table.to_csv().encode()
        files[f"tables/{table.name}.json"] = _json(table.to_dict())
    for plot in plots:
        files[f"plots/{plot.name}.svg"] = plot.svg.encode()
        files[f"plots/{plot.name}.png"] = plot.png
    return files


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, default=str) + "\n").encode()


def _markdown(document: dict[str, Any], tables: Sequence[Table]) -> str:
    parts = [f"# Sweep {plain(document['sweep'])}", plain(document["description"]), plain(measured_on(document))]
    parts += [f"- {plain(sentence)}" for sentence in document["findings"]]
    parts += [f"- FAILED {plain(which)}: {plain(why)}" for which, why in _failed(document)]
    parts += [f"## {table.title}\n\n{table.to_markdown()}" for table in tables]
    return "\n\n".join(part for part in parts if part) + "\n"


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    except OSError as error:
        raise StoreError(f"cannot write the sweep's results to {folder}: {error.strerror}") from None


def _publish(
    name: str, document: dict[str, Any], tables: Sequence[Table], plots: Sequence[Plot], page: Path | None
) -> None:
    """Artifacts under keys that stay the same from night to night, so that the UI shows their history."""
    key = f"sweep-{name}"
    create_markdown_artifact(_markdown(document, tables), key=key, description=plain(document["description"] or name))
    for table in tables:
        create_table_artifact(
            table.to_artifact(),
            key=f"{key}-{table.name.replace('_', '-')}",
            description=f"{table.title}. {table.caption}",
        )
    for plot in plots:
        picture = f"data:image/png;base64,{base64.b64encode(plot.png).decode()}"
        create_image_artifact(picture, key=f"{key}-plot-{plot.name}", description=f"{plot.title}. {plot.caption}")
    if page is not None:
        create_link_artifact(page.as_uri(), key=f"{key}-page", link_text=f"report of the sweep {name}")

"""What `cosmic bench` prints of a sweep that has been run."""

from typing import Any

from flows.cli.terminal import say, show_table
from tasks.reporting.terminal_table import EXPLAIN
from tasks.sweeps.cells import Measurement, cells_of
from tasks.sweeps.report import failed_runs, tables_of_sweep


def show(document: dict[str, Any], *, explain: bool = False) -> None:
    """Print a sweep's tables, findings and failures.

    Args:
        document: of `tasks.sweep_steps.publish_sweep`.
        explain: say below each table what its figures are.
    """
    measured = [
        Measurement(run["axes"], run["repeat"], run["document"], run["failed"]) for run in document["measurements"]
    ]
    for table in tables_of_sweep(cells_of(measured)):
        show_table(table, explain=explain)
    for sentence in document["findings"]:
        say(f"* {sentence}")
    for which, why in failed_runs(document):
        say(f"FAILED {which}: {why}", "red")
    if not explain:
        say(EXPLAIN, "dim")
    if document.get("report"):
        say(f"report: {document['report']}")

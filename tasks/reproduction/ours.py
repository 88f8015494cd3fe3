"""What our sweeps found, as the page's comparisons ask for it: a figure of a cell, with its spread and unit."""

from collections.abc import Callable, Mapping
from typing import Any

from tasks.reporting.formatting import DASH, number
from tasks.sweeps.cells import Cell, Measurement, cells_of
from tasks.sweeps.statistics import mean_interval

Document = Mapping[str, Any]
Figure = Callable[[Document], float | None]


class Ours:
    """The cells of a sweep.

    Args:
        document: of the sweep; None where it did not run.
    """

    def __init__(self, document: Document | None) -> None:
        runs = [] if document is None else document["measurements"]
        measured = [Measurement(run["axes"], run["repeat"], run["document"], run["failed"]) for run in runs]
        self.cells = [cell for cell in cells_of(measured) if cell.runs]

    def cell(self, **axes: Any) -> Cell | None:
        """The cell with these values; the first where several have them."""
        found = (cell for cell in self.cells if all(cell.axes[name] == value for name, value in axes.items()))
        return next(found, None)

    def values(self, figure: str | Figure, **axes: Any) -> list[float]:
        """A metric (`tasks.sweeps.run_metrics.METRICS`), or what a function makes of a run's document, of each run."""
        cell = self.cell(**axes)
        if cell is None:
            return []
        if isinstance(figure, str):
            return cell.values(figure)
        found = (figure(run.document) for run in cell.runs)
        return [value for value in found if value is not None]

    def mean(self, figure: str | Figure, **axes: Any) -> float | None:
        """Its mean over the runs; None where none has it."""
        values = self.values(figure, **axes)
        return mean_interval(values).mean if values else None

    def shown(self, figure: str | Figure, unit: str = "", scale: float = 1.0, **axes: Any) -> str:
        """The mean with half its 95 % interval and its unit; a dash where no run has it."""
        values = [value * scale for value in self.values(figure, **axes)]
        if not values:
            return DASH
        mean = mean_interval(values)
        text = number(mean.mean)
        if mean.low is not None and mean.high is not None and mean.high > mean.low:
            text += f" ± {number((mean.high - mean.low) / 2, digits=2)}"
        return f"{text} {unit}".strip()


def rank_rate(run: Document) -> float | None:
    """Samples a second of a rank while it reads and computes: all samples over all ranks' seconds."""
    seconds = sum(row["wall_read_s"] + row["wall_compute_s"] for row in run["ranks"])
    return run["samples"] / seconds if seconds else None


def invocations(run: Document) -> float | None:
    """Calls that are on the bill."""
    return next((float(item["quantity"]) for item in run["cost"]["items"] if item["name"] == "requests"), None)


def billed_seconds(run: Document) -> float | None:
    """Billed time of all ranks."""
    return float(sum(row.get("billed_s") or row["wall_total_s"] for row in run["ranks"]))


def cost_by(method: str) -> Figure:
    """USD by one of the bill's three methods."""

    def usd(run: Document) -> float | None:
        value = (run.get("costs") or {}).get(method)
        return None if value is None else float(value)

    return usd


def execution(key: str) -> Figure:
    """A figure of the Step Functions execution (`tasks.aws.execution.Execution.to_dict`)."""

    def of(run: Document) -> float | None:
        value = (run.get("execution") or {}).get(key)
        if isinstance(value, list):
            value = sum(value) / len(value) if value else None
        return None if value is None else float(value)

    return of

"""What our sweeps found, as the page's comparisons ask for it: a figure of a cell, with its spread and unit."""

from collections.abc import Callable, Mapping
from typing import Any

from tasks.billing.cost import PRINTED_USD_PER_GB_S
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
        """The mean with its unit and spread; a dash where no run has it.

        The spread of three runs and more is half the 95 % interval, that of two the lower and the higher one, left out
        where it is less than the digits that are shown.
        """
        values = [value * scale for value in self.values(figure, **axes)]
        if not values:
            return DASH
        mean = mean_interval(values)
        text = number(mean.mean)
        if len(values) == 2:
            low, high = number(min(values)), number(max(values))
            return f"{text} {unit}".strip() + (f" ({low} to {high})" if low != high else "")
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


def printed_formula(run: Document) -> float | None:
    """USD by the report's formula; its memory is the ranks' own, because the emulator's REPORT lines tell none."""
    calls, peak = invocations(run), max((float(row["peak_rss_mb"]) for row in run["ranks"]), default=0.0)
    return None if calls is None else calls * (billed_seconds(run) or 0.0) * peak / 1e3 * PRINTED_USD_PER_GB_S


def execution(key: str) -> Figure:
    """A figure of the Step Functions execution (`tasks.aws.execution.Execution.to_dict`)."""

    def of(run: Document) -> float | None:
        value = (run.get("execution") or {}).get(key)
        if isinstance(value, list | tuple):
            value = sum(value) / len(value) if value else None
        return None if value is None else float(value)

    return of

"""The shipped model of AWS against the published series that it was fitted to, and a series that it has never seen.

`python -m tasks.planning.published_series` prints the tables of docs/plan.md.
"""

from statistics import fmean, median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from inference.contract.run_request import PartitionRequest, RunRequest
from tasks.planning.planned_run import place_of, samples_of_data
from tasks.planning.prediction import Prediction, predict
from tasks.planning.shipped import shipped
from tasks.planning.simulated_run import Configuration
from tasks.reporting.terminal_table import print_table
from tasks.reproduction.digest import published

HELD_OUT_MB = 75  # a series that exists and was not fitted to
GB = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.6)
_RUNS = 60  # simulated runs of a row


class Row(NamedTuple):
    """One published configuration: what was measured (seconds, none where nothing was), and what is predicted."""

    partition_mb: int
    data_gb: float
    map_s: float | None
    totals_s: tuple[float, ...]
    expected: Prediction


def predict_published(partition_mb: int, data_gb: float, runs: int = _RUNS) -> Prediction:
    """What the shipped model expects of a run of the replaced system's kind, behind Step Functions."""
    request = RunRequest(
        bucket="published",
        file_limit=10_000,
        batch_size=512,
        result_path="results",
        data_bucket="published",
        data_prefix="survey",
        partition=PartitionRequest(source="survey.pt", size=f"{partition_mb}MB"),
    )
    samples, partitions = samples_of_data(f"{data_gb:g}GB", f"{partition_mb}MB")
    place = place_of(request, "step-functions", None)
    return predict(Configuration(request, place, samples, True), shipped("step-functions"), partitions, runs=runs)


def series(runs: int = _RUNS) -> list[Row]:
    """Every published configuration of 25, 50 and 100 MB partitions with its prediction."""
    digest = published()
    maps = {(round(each["partition_mb"]), each["data_gb"]): each["map_phase_s"] for each in digest["map_phase"]}
    return [
        Row(
            each["partition_mb"],
            each["data_gb"],
            maps.get((each["partition_mb"], each["data_gb"])),
            tuple(each["seconds"]),
            predict_published(each["partition_mb"], each["data_gb"], runs),
        )
        for each in digest["end_to_end"]
    ]


def score_series(rows: list[Row]) -> dict[str, float]:
    """Median error without sign, bias, and coverage of the 90 % interval, of map phases and of whole runs."""
    pairs: dict[str, list[tuple[Any, float]]] = {
        "map": [(row.expected.makespan_s, row.map_s) for row in rows if row.map_s is not None],
        "end to end": [(row.expected.end_to_end_s, total) for row in rows for total in row.totals_s],
    }
    found = {}
    for name, some in pairs.items():
        errors = [expected.p50 / actual - 1 for expected, actual in some]
        found[f"{name}: median error"] = median(map(abs, errors))
        found[f"{name}: bias"] = fmean(errors)
        found[f"{name}: coverage"] = fmean(expected.low <= actual <= expected.high for expected, actual in some)
    return found


def main() -> None:
    """Print both series and the score."""
    table = Table(title="Published runs on AWS, and what is predicted (P50 and 90 % interval, seconds)")
    for name in ("MB", "GB", "ranks", "map", "predicted", "end to end", "predicted ", "USD predicted"):
        table.add_column(name, justify="right")

    def add(mb: int, gb: float, map_s: float | None, totals: tuple[float, ...], found: Prediction) -> None:
        ranges = [f"{each.p50:.1f} ({each.low:.1f}-{each.high:.1f})" for each in (found.makespan_s, found.end_to_end_s)]
        measured = ["-" if map_s is None else f"{map_s:.1f}", ", ".join(f"{total:.1f}" for total in totals) or "-"]
        bill = "-" if found.usd is None else f"{found.usd.p50:.3f}"
        table.add_row(f"{mb}", f"{gb:g}", f"{found.ranks}", measured[0], ranges[0], measured[1], ranges[1], bill)

    rows = series()
    for row in rows:
        add(*row)
    for gb in GB:
        add(HELD_OUT_MB, gb, None, (), predict_published(HELD_OUT_MB, gb))
    console = Console()
    print_table(console, table)
    for name, value in score_series(rows).items():
        console.print(f"{name}: {value:.1%}")


if __name__ == "__main__":
    main()

"""Runs on paper: data sets from 12.6 GB to a petabyte on AWS Lambda, by the simulation that plans real runs.

`python -m tasks.planning.paper` prints the table of docs/scale.md; the petabyte takes minutes.
"""

import time
from dataclasses import replace
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from inference.contract.run_request import PartitionRequest, RunRequest
from tasks.planning.planned_run import place_of, samples_of_data
from tasks.planning.prediction import MOST, RANKS_IN_ALL, Prediction, predict
from tasks.planning.shipped import shipped
from tasks.planning.simulated_run import Configuration
from tasks.planning.stages import Line, StageModel
from tasks.reporting.formatting import duration, usd
from tasks.reporting.terminal_table import print_table

# Ratios of this project's function over the replaced one, measured side by side on one machine (docs/performance.md).
FASTER = {"float32": 2.61, "int8": 4.08}
COLD = 0.142  # of the replaced function's time from a new process to its first redshifts


class Case(NamedTuple):
    """A run on paper: the data set, a partition's size, and of the functions memory, number at once and precision."""

    data: str
    partition: str
    memory_mb: int
    at_once: int
    precision: str | None  # None: the replaced system's code


CASES = (
    Case("12.6GB", "25MB", 10_240, 1_000, None),
    Case("12.6GB", "25MB", 10_240, 1_000, "float32"),
    Case("12.6GB", "25MB", 10_240, 1_000, "int8"),
    Case("12.6GB", "25MB", 1_769, 1_000, "int8"),
    Case("12.6GB", "10MB", 3_538, 10_000, "int8"),
    Case("1TB", "100MB", 10_240, 1_000, "float32"),
    Case("1TB", "100MB", 1_769, 10_000, "float32"),
    Case("100TB", "200MB", 3_538, 10_000, "float32"),
    Case("100TB", "1GB", 10_240, 10_000, "float32"),
    Case("1PB", "1GB", 3_538, 10_000, "float32"),
)


def model_of(precision: str | None) -> StageModel:
    """What a rank takes on Lambda: as the replaced code was measured there, or what follows for this project's.

    This project's code has not been measured on AWS. Its times are the replaced code's, divided by what both were
    measured to differ by on one machine; a partition is computed on while it is read, so that reading adds the
    first request only. That is a guess, and `source` says so.
    """
    base = shipped("lambda")
    if precision is None:
        return base
    return replace(
        base,
        source=f"a guess for {precision}: {base.source}; computing {FASTER[precision]:g} times faster and cold starts"
        f" {COLD:g} of it, as both were measured on one machine",
        load_s=tuple(COLD * each for each in base.load_s),
        read=Line(0.05, 0.0),
        compute=Line(0.0, base.compute.each / FASTER[precision]),
        write=Line(0.05, 0.0),
        peak_mb=Line(400.0, 0.024),  # weights and engine; partitions are streamed, and predictions stay
    )


def expected(case: Case) -> Prediction:
    """The prediction of a run on paper."""
    request = RunRequest(
        bucket="paper",
        file_limit=100_000,
        batch_size=512,
        result_path="results",
        data_bucket="paper",
        data_prefix="survey",
        memory_mb=case.memory_mb,
        max_concurrency=case.at_once,
        partition=PartitionRequest(source="survey.pt", size=case.partition),
    )
    samples, partitions = samples_of_data(case.data, case.partition)
    configuration = Configuration(request, place_of(request, "lambda", None), samples, True)
    runs = max(min(MOST, RANKS_IN_ALL // len(samples)), 1)
    return predict(configuration, model_of(case.precision), partitions, runs=runs)


def main() -> None:
    """Print a row as soon as it has been simulated, and then the table."""
    console, table = Console(), Table(title="Runs on paper, AWS Lambda, P50")
    for name in ("data", "partition", "ranks", "MB", "at once", "code", "makespan", "end to end", "USD", "first limit"):
        table.add_column(name, justify="left" if name in {"code", "first limit"} else "right", overflow="fold")
    for case in CASES:
        began, found = time.perf_counter(), expected(case)
        wrong = [check.says for check in found.checks if not check.ok]
        code = "replaced" if case.precision is None else f"this, {case.precision}"
        bill = "-" if found.usd is None else usd(found.usd.p50)
        times = [duration(found.makespan_s.p50), duration(found.end_to_end_s.p50)]
        where = [f"{case.memory_mb:,}", f"{case.at_once:,}", code]
        table.add_row(
            case.data, case.partition, f"{found.ranks:,}", *where, *times, bill, "; ".join(wrong or [found.limit])
        )
        console.print(f"{case.data} in {case.partition}: simulated in {time.perf_counter() - began:.1f} s", style="dim")
    print_table(console, table)


if __name__ == "__main__":
    main()

"""cosmic bench: a sweep, from its file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from flows.cli import prefect_server as prefect_api
from flows.cli.options import add_aws_credentials, add_explain, add_json, add_store
from flows.cli.terminal import print_json, say, show_table
from inference.contract.counted import counted
from inference.errors import BadInput

if TYPE_CHECKING:
    from tasks.planning.sweep_estimate import Expectation
    from tasks.sweeps.sweep import Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("sweep", type=Path, metavar="SWEEP.yaml", help="the sweep (benchmarks/sweeps/ has some)")
    add_store(parser)
    known = ("local", "lambda", "step-functions", "dask")
    parser.add_argument("--executor", choices=known, help="in place of the sweep's own")
    parser.add_argument("--dry-run", action="store_true", help="list the cells and what they will take; run nothing")
    parser.add_argument("--max-cost", type=float, metavar="USD", help="refuse to start when more is expected")
    parser.add_argument("--results", metavar="FOLDER", help="also write tables and plots to this folder")
    add_aws_credentials(parser)
    parser.add_argument("--verbose", action="store_true", help="show Prefect's own log")
    add_explain(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Check, tell what is expected, run, show."""
    prefect_api.hush(verbose=args.verbose)
    from tasks.planning.sweep_estimate import check_budget, expect
    from tasks.sweeps.sweep import Sweep

    if args.max_cost is not None and not args.max_cost >= 0:
        raise BadInput(f"--max-cost must be a sum of USD, not {args.max_cost}")
    changes = {"axes": {"executor": args.executor}} if args.executor else {}
    sweep = Sweep.load(args.sweep, changes)
    expected = expect(sweep, args.store)
    if args.dry_run:
        show_expected(sweep, expected, as_json=args.json)
    check_budget(expected, args.max_cost)
    if args.aws_credentials is None:  # a block is read from Prefect, by the flow
        from tasks.check_sweep import check_sweep

        check_sweep(sweep, args.store)
    if args.dry_run:
        return 0
    if not args.json:
        say(_time(sweep, expected), stderr=True)
    with prefect_api.connected(
        verbose=args.verbose, left="finished runs are kept, and the same command goes on from there"
    ) as ready:
        from flows.benchmark import benchmark

        ready()
        document = prefect_api.call(
            benchmark, str(args.sweep), changes, args.store, args.max_cost, args.results, args.aws_credentials
        )
    if args.json:
        print_json(document)
    else:
        from flows.cli.sweep_tables import show

        show(document, explain=args.explain)
    return 1 if document["failed"] else 0


def show_expected(sweep: "Sweep", expected: "list[Expectation]", *, as_json: bool) -> None:
    """Print the cells, the expected invocations and the expected cost."""
    from tasks.planning.sweep_estimate import sources, total_usd
    from tasks.reporting.formatting import DASH

    usd = total_usd(expected)

    def shown(value: float | None) -> str:
        return DASH if value is None else f"{value:,.2f}"

    invocations = sum(each.invocations for each in expected)
    if as_json:
        rows: list[dict[str, Any]] = [
            {"cell": each.cell.name, "executor": each.cell.executor, "runs": each.runs, "ranks": each.cell.ranks}
            | {"invocations": each.invocations, "expected_rank_s": each.rank_s}
            | {"expected_run_s": each.run_s, "expected_usd": each.usd}
            for each in expected
        ]
        print_json(
            {"sweep": sweep.name, "cells": rows, "invocations": invocations, "expected_usd": usd}
            | {"expected_s": _seconds(sweep, expected), "how": sources(expected)}
        )
        return
    table = Table(title=f"sweep {sweep.name}: {counted(len(expected), 'cell')}")
    table.add_column("cell", overflow="fold")
    table.add_column("executor")
    for name in ("runs", "ranks", "invocations", "rank s", "run s", "USD"):
        table.add_column(name, justify="right")
    for each in expected:
        numbers = (each.runs, each.cell.ranks, each.invocations)
        counts = [f"{number:,}" for number in numbers]
        times = [f"{seconds:,.1f}" for seconds in (each.rank_s, each.run_s)]
        table.add_row(each.cell.name, each.cell.executor, *counts, *times, shown(each.usd))
    table.add_section()
    table.add_row("all", "", "", "", f"{invocations:,}", "", "", shown(usd))
    show_table(table, drop=("rank s", "invocations", "executor"))
    say(_time(sweep, expected))
    say(f"Expected, {sources(expected)}; local workers cost nothing. Nothing was run.", "dim")


def _seconds(sweep: "Sweep", expected: "list[Expectation]") -> float:
    from tasks.executors.base import cores
    from tasks.planning.sweep_estimate import expected_s
    from tasks.simulate import survey_file

    survey = sweep.survey
    simulated = survey is not None and survey.samples is not None and survey_file(survey.samples, survey.seed).exists()
    return expected_s(sweep, expected, simulated=simulated, cores=cores())


def _time(sweep: "Sweep", expected: "list[Expectation]") -> str:
    from tasks.reporting.formatting import duration

    return f"The sweep is expected to take {duration(_seconds(sweep, expected))}, one run after the other."

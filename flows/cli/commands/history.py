"""cosmic history: how long the phases of a Step Functions execution took."""

import argparse
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from flows.cli.options import add_json
from flows.cli.terminal import print_json, say, show_table
from inference.errors import BadInput
from tasks.reporting.formatting import DASH, number, seconds

if TYPE_CHECKING:
    from tasks.aws.execution import Execution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "execution_arn", metavar="EXECUTION_ARN", help="arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME"
    )
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read the execution's history, print its phases."""
    from botocore.exceptions import BotoCoreError, ClientError

    from tasks.aws.execution import read_execution, region_of
    from tasks.aws.session import client, explain

    region = region_of(args.execution_arn)
    states = client("stepfunctions", region)
    if states.meta.region_name != region:
        raise BadInput(f"EXECUTION_ARN is of {region}, but the region in use is {states.meta.region_name}")
    try:
        execution = read_execution(states, args.execution_arn)
    except (ClientError, BotoCoreError) as error:
        raise BadInput(explain(error)) from error
    if args.json:
        print_json(execution.to_dict())
        return 0
    table = Table()
    for name in ("phase", "states", "s"):
        table.add_column(name, justify="right" if name == "s" else "left")
    for name, phase in ("Initialize", execution.initialize), ("Map", execution.map), ("Summarize", execution.summarize):
        table.add_row(name, phase.name if phase else DASH, seconds(phase.seconds if phase else None))
    table.add_row("whole execution", "", seconds(execution.seconds))
    say(f"{execution.arn}: {execution.status}")
    show_table(table)
    for line in _lines(execution):
        say(line)
    return 0


def _lines(execution: "Execution") -> Iterator[str]:
    if execution.items:
        counts = ", ".join(f"{count:,} {status}" for status, count in execution.items.items() if count)
        yield f"items: {counts or 'none'}"
    took = execution.item_seconds
    if took:
        figures = {
            "min": min(took),
            "median": statistics.median(took),
            "mean": statistics.fmean(took),
            "max": max(took),
        }
        yield "an item took: " + ", ".join(f"{name} {seconds(value)} s" for name, value in figures.items())
    if execution.peak_concurrency:
        yield f"items at once, at most: {execution.peak_concurrency:,}"
    if execution.retries is not None:
        yield f"calls made again by the machine: {execution.retries:,}"
    yield f"state transitions: {number(execution.state_transitions)}, {execution.transitions_how}"
    if execution.status != "RUNNING" and (execution.error or execution.cause):
        yield execution.why
    yield from execution.notes

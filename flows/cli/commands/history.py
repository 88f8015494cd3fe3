"""cosmic history: how long the phases of a Step Functions execution took, or of all executions of a machine."""

import argparse
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from flows.cli.options import add_explain, add_json
from flows.cli.terminal import print_json, say, show_table
from inference.errors import BadInput
from tasks.reporting.formatting import DASH, number, seconds

if TYPE_CHECKING:
    from tasks.aws.execution import Execution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "arn",
        metavar="ARN",
        help="arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME for its phases, or"
        " arn:aws:states:REGION:ACCOUNT:stateMachine:MACHINE for a table of all its executions",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a machine's executions to this CSV file")
    add_explain(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read the history of the execution, or of each of the machine's, and print its phases."""
    from botocore.exceptions import BotoCoreError, ClientError

    from inference.contract.run_request import STATE_MACHINE
    from tasks.aws.execution import read_execution, region_of
    from tasks.aws.session import client, explain

    of_machine = re.fullmatch(STATE_MACHINE, args.arn) is not None
    if args.out is not None and not of_machine:
        raise BadInput("--out goes with the ARN of a state machine; one execution is printed, or --json")
    region = args.arn.split(":")[3] if of_machine else region_of(args.arn)
    states = client("stepfunctions", region)
    if states.meta.region_name != region:
        raise BadInput(f"ARN is of {region}, but the region in use is {states.meta.region_name}")
    try:
        if of_machine:
            return _machine(states, args)
        execution = read_execution(states, args.arn)
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


def _machine(states: Any, args: argparse.Namespace) -> int:
    from inference.contract.counted import counted
    from inference.storage.atomic_write import atomic_write
    from tasks.aws.executions_table import executions_table

    table = executions_table(states, args.arn)
    if args.out is not None:
        try:
            with atomic_write(args.out) as partial:
                partial.write_text(table.to_csv())
        except OSError as error:
            raise BadInput(f"--out: cannot write {args.out}: {error.strerror}") from None
    if args.json:
        print_json(table.to_dict())
        return 0
    show_table(table, explain=args.explain)
    if not table.rows:
        say("It has run nothing in the last 90 days, or it is no longer there.")
    if args.out is not None:
        say(f"{counted(len(table.rows), 'execution')} written to {args.out}")
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

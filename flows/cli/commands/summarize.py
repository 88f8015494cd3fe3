"""cosmic summarize FILE_OR_PREFIX: the tables of any run, ours or the replaced system's, on AWS, SLURM, one machine."""

import argparse
from pathlib import Path

from flows.cli.options import add_explain, add_json, add_store, bucket_and_path
from flows.cli.terminal import print_json, say, show_table
from inference.contract.documents import read_document
from inference.contract.near import near_file
from inference.contract.validation import shorten
from inference.errors import BadInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "place",
        metavar="FILE_OR_PREFIX",
        help="a combined_data.json, the job_<n>.json of a SLURM run, the total.json of one machine, a folder that holds"
        " some, bucket/prefix in the store, or s3://bucket/prefix",
    )
    add_store(parser)
    plan = parser.add_mutually_exclusive_group()
    plan.add_argument(
        "--plan", type=Path, metavar="PAYLOAD", help="the payload.json of the run, to name what is missing"
    )
    plan.add_argument("--ranks", type=int, metavar="N", help="how many ranks the run had")
    parser.add_argument(
        "--sacct",
        type=Path,
        metavar="FILE",
        help="wall time of a SLURM run, as `sacct -p --format=JobID,Start,End,State -j ID` prints it (default:"
        " sacct.txt beside its job_<n>.json)",
    )
    add_explain(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read, print; 1 when a run is known to be incomplete."""
    from rich.table import Table

    from inference.storage.store import S3_ROOT, Store
    from tasks.combined_data.find import find_runs, find_stored_runs, with_accounting, with_plan
    from tasks.combined_data.records import Planned, read_plan
    from tasks.combined_data.slurm import read_accounting
    from tasks.combined_data.tables import facts, figures, repeats_table, runs_table
    from tasks.reporting.terminal_table import EXPLAIN

    if args.ranks is not None and args.ranks < 1:
        raise BadInput(f"--ranks must be at least 1, not {args.ranks}")
    if args.place.startswith(S3_ROOT):
        runs = find_stored_runs(Store(S3_ROOT), *bucket_and_path(args.place.removeprefix(S3_ROOT)))
    elif Path(args.place).exists():
        runs = find_runs(Path(args.place))
    elif "/" not in args.place:
        what = f"no file or folder {shorten(args.place, 120)} is here{near_file(Path(args.place))}"
        raise BadInput(f"{what}, and a RESULT_PATH is written bucket/result_path")
    else:
        runs = find_stored_runs(Store(args.store), *bucket_and_path(args.place))
    if args.plan is not None or args.ranks is not None:
        if len(runs) > 1:
            raise BadInput(f"a plan is of one run, and {args.place} holds {len(runs)}")
        planned = (
            Planned(args.ranks, "--ranks")
            if args.ranks
            else read_plan(read_document(args.plan, "the plan"), str(args.plan))
        )
        runs = [with_plan(runs[0], planned)]
    if args.sacct is not None:
        if len(runs) > 1:
            raise BadInput(f"--sacct is of one run, and {args.place} holds {len(runs)}")
        runs = [with_accounting(runs[0], read_accounting(read_document(args.sacct, "--sacct"), str(args.sacct)))]
    grown = [(run.name, run.growth.table()) for run in runs if run.growth is not None]
    rows = [figures(run) for run in runs]
    repeats = repeats_table(rows)
    incomplete = [(run.name, shortfall) for run in runs for shortfall in run.shortfalls]
    if args.json:
        warnings = [{"run": name, "warning": shortfall} for name, shortfall in incomplete]
        document = {"runs": rows, "repeats": list(repeats.rows) if repeats else [], "warnings": warnings}
        print_json(document | ({"growth": {name: list(table.rows) for name, table in grown}} if grown else {}))
        return 1 if incomplete else 0
    if len(rows) == 1:
        table = Table(title=f"run {rows[0].get('result_path') or rows[0]['run']}", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        if args.explain:
            table.add_column(style="dim")
        for line in facts(rows[0]):
            table.add_row(*(line if args.explain else line[:2]))
        show_table(table)
    else:
        for each in (runs_table(rows), repeats):
            if each is not None:
                show_table(each, explain=args.explain)
    if len(rows) == 1 and grown:
        show_table(grown[0][1], explain=args.explain)
    if not args.explain:
        say(EXPLAIN, "dim")
    for name, shortfall in incomplete:
        say(f"WARNING {name}: {shortfall}", "yellow")
    return 1 if incomplete else 0

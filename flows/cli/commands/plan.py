"""cosmic plan: what a run will take, before it is paid for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from flows.cli.options import add_json, add_store
from flows.cli.terminal import print_json, say, show_table
from inference.contract.counted import counted
from inference.errors import BadInput

if TYPE_CHECKING:
    from inference.contract.run_request import RunRequest
    from tasks.planning.prediction import Prediction, Range


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("request", type=Path, nargs="?", metavar="REQUEST.json", help="the run request")
    add_store(parser)
    known = ("local", "lambda", "step-functions", "dask")
    parser.add_argument("--executor", choices=known, default="local", help="where the ranks run (default %(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default one a core)")
    parser.add_argument("--data", metavar="SIZE", help='plan for so much data on paper, "12.6GB", by partition.size')
    parser.add_argument("--deadline", metavar="TIME", help='find the cheapest way to be done by then, "60s" or "5min"')
    parser.add_argument("--budget", metavar="USD", help="find the fastest way for so much money")
    parser.add_argument(
        "--probe",
        type=float,
        nargs="?",
        const=5.0,
        metavar="CENTS",
        help="run a handful of ranks first, on AWS for so many cents at most (default 5), and predict from them",
    )
    parser.add_argument("--out", type=Path, metavar="REQUEST.json", help="write the request of the way that was found")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw every way that was tried")
    parser.add_argument(
        "--score", metavar="BUCKET[/FOLDER]", help="how good the predictions of the runs that lie there were"
    )
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read, predict, show; 1 where a check fails."""
    from inference.contract.run_request import RunRequest
    from tasks.planning.planned_run import predict_request

    if args.workers is not None and not 1 <= args.workers <= 1024:
        raise BadInput(f"--workers must lie between 1 and 1024, not {args.workers}")
    if args.probe is not None and (args.score is not None or not 0 < args.probe <= 1e6):
        raise BadInput("--probe goes with a request, and names a sum of US cents above 0")
    if (args.score is None) == (args.request is None):
        raise BadInput("name a request to plan, or --score BUCKET to see how good earlier predictions were")
    if args.score is not None:
        from flows.cli.plan_tables import show_score

        return show_score(args.score, args.store, as_json=args.json)
    request = RunRequest.load(args.request)
    if args.probe is not None:
        run_probe(request, args)
    if args.deadline is not None or args.budget is not None:
        from flows.cli.plan_tables import show_best

        return show_best(request, args)
    for name in ("out", "plot"):
        if getattr(args, name) is not None:
            raise BadInput(f"--{name} goes with --deadline or --budget")
    prediction = predict_request(request, args.store, args.executor, args.workers, on_paper=args.data)
    if args.json:
        print_json(prediction.to_dict())
    else:
        show(prediction)
    return 0 if all(check.ok for check in prediction.checks) else 1


def run_probe(request: "RunRequest", args: argparse.Namespace) -> None:
    """Say what the probe costs, run it, and leave its results where the prediction finds them.

    Raises:
        BadInput: it would cost more than it may.
        RunIncomplete: a rank of the probe failed.
    """
    from flows.cli import prefect_server
    from tasks.planning.probe import probe_of

    probe = probe_of(request, args.store, args.executor, args.workers, args.probe)
    say(probe.sentence(args.executor), "dim", stderr=True)
    with prefect_server.connected(verbose=False, left="call the command again") as ready:
        from flows.run import run

        ready()
        for each in probe.requests:
            prefect_server.call(run, each.as_given(), args.store, args.executor, args.workers, True, None)


def show(prediction: "Prediction") -> None:
    """Print a prediction."""
    from tasks.reporting.formatting import DASH, usd

    table = Table(
        title=f"{counted(prediction.ranks, 'rank')}, {counted(prediction.samples, 'galaxy')}, {prediction.executor}"
    )
    table.add_column("expected")
    for name in ("P50", "P90", "90 % interval"):
        table.add_column(name, justify="right")

    def row(name: str, found: "Range") -> None:
        table.add_row(name, f"{found.p50:,.1f} s", f"{found.p90:,.1f} s", f"{found.low:,.1f} to {found.high:,.1f} s")

    row("makespan", prediction.makespan_s)
    row("end to end", prediction.end_to_end_s)
    bill = prediction.usd
    if bill is None:
        table.add_row("bill", DASH, DASH, "no price known")
    else:
        table.add_row("bill on Lambda", usd(bill.p50), usd(bill.p90), f"{usd(bill.low)} to {usd(bill.high)}")
    for name, value in prediction.lines.items():
        table.add_row(f"  {name}", usd(value), "", "")
    show_table(table)
    say(prediction.limit)
    for check in prediction.checks:
        say(f"{check.name}: {check.says}", "" if check.ok else "red")
    simulated = "1 run was" if prediction.runs == 1 else f"{prediction.runs} runs were"
    say(f"The times are {prediction.source}; {simulated} simulated with the dispatcher that will run.", "dim")
    for note in prediction.notes:
        say(f"note: {note}", "dim")

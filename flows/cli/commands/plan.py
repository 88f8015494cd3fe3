"""cosmic plan: what a run will take, before it is paid for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from flows.cli.options import add_json, add_store
from flows.cli.terminal import console, print_json, say
from inference.errors import BadInput

if TYPE_CHECKING:
    from tasks.planning.prediction import Prediction, Range


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("request", type=Path, nargs="?", metavar="REQUEST.json", help="the run request")
    add_store(parser)
    known = ("local", "lambda", "step-functions", "dask")
    parser.add_argument("--executor", choices=known, default="local", help="where the ranks run (default %(default)s)")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default one a core)")
    parser.add_argument("--data", metavar="SIZE", help='plan for so much data on paper, "12.6GB", by partition.size')
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
    if (args.score is None) == (args.request is None):
        raise BadInput("name a request to plan, or --score BUCKET to see how good earlier predictions were")
    if args.score is not None:
        return show_score(args.score, args.store, as_json=args.json)
    request = RunRequest.load(args.request)
    prediction = predict_request(request, args.store, args.executor, args.workers, on_paper=args.data)
    if args.json:
        print_json(prediction.to_dict())
    else:
        show(prediction)
    return 0 if all(check.ok for check in prediction.checks) else 1


def show(prediction: "Prediction") -> None:
    """Print a prediction."""
    from tasks.reporting.formatting import DASH, usd

    table = Table(
        title=f"{prediction.ranks:,} ranks, {prediction.samples:,} galaxies, {prediction.executor}",
        title_justify="left",
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
    console().print(table)
    say(prediction.limit)
    for check in prediction.checks:
        say(f"{check.name}: {check.says}", "" if check.ok else "red")
    say(
        f"The times are {prediction.source}; {prediction.runs} runs were simulated with the dispatcher that will run.",
        "dim",
    )
    for note in prediction.notes:
        say(f"note: {note}", "dim")


def show_score(where: str, store_root: str, *, as_json: bool) -> int:
    """Print how good the predictions of all runs under a bucket were."""
    from inference.contract.object_keys import checked_bucket
    from inference.storage.store import Store
    from tasks.planning.history import past_runs
    from tasks.planning.scoring import outcomes, scores
    from tasks.reporting.formatting import DASH, counted
    from tasks.run_results.expected import FIGURES

    bucket, _, folder = where.partition("/")
    runs, notes = past_runs(Store(store_root), checked_bucket(bucket, "--score"), under=folder.strip("/"))
    found = scores(outcomes(runs))
    if as_json:
        print_json({"runs": len(runs), "scores": [each.to_dict() for each in found], "notes": notes})
        return 0
    if not found:
        raise BadInput(f"--score: no run under {where} was predicted, and none has runs of its kind before it")
    table = Table(title=f"{counted(len(runs), 'run')} under {where}", title_justify="left")
    table.add_column("expected")
    table.add_column("executor")
    for name in ("runs", "replayed", "median error", "bias", "in 90 % interval", "drift"):
        table.add_column(name, justify="right")
    for each in found:
        drift = DASH if each.drift is None else f"{each.drift:+.1%}"
        shares = (f"{each.median_error:.1%}", f"{each.bias:+.1%}", f"{each.coverage:.0%}", drift)
        table.add_row(FIGURES[each.figure], each.executor, str(each.runs), str(each.replayed), *shares)
    console().print(table)
    say(
        "An error is expected over actual, less 1. Drift is the bias of the newer half less that of the older."
        " A replayed prediction is made now, from the runs before its run only. Runs that did not run all their ranks"
        " are left out.",
        "dim",
    )
    for note in notes:
        say(f"note: {note}", "dim")
    return 0

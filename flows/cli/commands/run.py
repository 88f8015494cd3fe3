"""cosmic run: one run, from a request file."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from flows.cli import prefect_server as prefect_api
from flows.cli.options import add_aws_credentials, add_json, add_store
from flows.cli.terminal import print_json, say, show_table
from inference.errors import BadInput, RunIncomplete

if TYPE_CHECKING:
    from inference.contract.run_request import RunRequest

_SHOWN = 12  # ranks in the terminal; the report has them all
_TRIES = 5  # flow runs, while the Prefect server answers some questions and is too busy for others


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("request", type=Path, metavar="REQUEST.json", help="the run request")
    add_store(parser)
    parser.add_argument(
        "--executor",
        choices=("local", "lambda", "step-functions", "dask"),
        default="local",
        help="where the ranks run (default %(default)s); those on AWS need --store s3:// and `cosmic deploy`",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="the Dask scheduler of --executor dask")
    where.add_argument("--cluster", type=Path, metavar="FILE.yaml", help="the cluster that --executor dask starts")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="worker processes (default one a core); 0 runs every rank in this process, for a debugger",
    )
    parser.add_argument("--max-cost", type=float, metavar="USD", help="refuse to start when more is expected")
    parser.add_argument("--fresh", action="store_true", help="run every rank anew, also those that are done")
    add_aws_credentials(parser)
    parser.add_argument("--verbose", action="store_true", help="show Prefect's own log")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Check, run, show."""
    from inference.contract.run_request import RunRequest
    from inference.runs.finished import last_summary, stored_summary

    if args.workers is not None and not 0 <= args.workers <= 1024:
        raise BadInput(f"--workers must lie between 0 and 1024, not {args.workers}")
    request = with_cluster(RunRequest.load(args.request), args)
    if args.max_cost is not None:
        if not 0 <= args.max_cost < math.inf:
            raise BadInput(f"--max-cost must be a sum of USD, not {args.max_cost}")
        request = request.model_copy(update={"max_cost": args.max_cost})
    # Whether all ranks of it are there counts for nothing where they run anew, and ten thousand are not read in vain.
    look = last_summary if args.fresh else stored_summary
    known = None if args.aws_credentials else look(request, args.store)
    if known is not None and known.get("executor") == args.executor and not args.fresh:
        say("Every rank is done, from these partitions, model and settings; this is their summary.", "dim", stderr=True)
        print_json(known) if args.json else show(known)
        return 0
    with prefect_api.connected(
        verbose=args.verbose, left="finished ranks are kept, and the same request goes on from there"
    ) as ready:
        from httpx import HTTPError

        from flows.run import run
        from tasks.prefect_support.artifacts import give_up
        from tasks.prefect_support.aws_credentials import credentials
        from tasks.preflight import hand_over, prepare

        incomplete: RunIncomplete | None = None
        with credentials(args.aws_credentials):
            prepared = prepare(request, args.store, args.executor, args.workers)
        ready("tasks.report")  # with pandas and matplotlib
        asked = (request.as_given(), args.store, args.executor, args.workers, args.fresh, args.aws_credentials)
        for tries_left in reversed(range(_TRIES)):
            try:
                with credentials(args.aws_credentials), hand_over(prepared):
                    document = prefect_api.call(run, *asked)
            except RunIncomplete as error:
                incomplete, document = error, error.document
            except HTTPError as error:  # of Prefect's client, which has asked again and again
                document = stored_summary(request, args.store) or {}
                if document not in ({}, known):
                    give_up()
                    say("The Prefect server went away at the end of the run, which is done all the same.", stderr=True)
                elif tries_left and prefect_api.is_busy(error):
                    say("The Prefect server is too busy for the run, which begins anew; done ranks stay.", stderr=True)
                    continue
                else:
                    raise
            break
    if args.json:
        print_json(document)
    else:
        show(document)
    if incomplete is not None:
        raise incomplete
    return 0


def with_cluster(request: "RunRequest", args: argparse.Namespace) -> "RunRequest":
    """The request with the cluster that `--scheduler` or `--cluster` names, in full, so that it can be read later."""
    if args.scheduler is None and args.cluster is None:
        return request
    from tasks.executors.cluster_file import Cluster

    cluster = Cluster.read(args.scheduler if args.cluster is None else str(args.cluster))
    return request.model_copy(update={"cluster": cluster.model_dump(exclude_defaults=True)})


def show(document: dict[str, Any]) -> None:
    """Print what a run came to as tables, after what failed and why."""
    from tasks.run_results.failures import failures_of

    if failures := failures_of(document):
        say(failures.title, "bold red")
        for which, why, partitions in failures.causes:
            say(f"  {which}: {why}" + f" ({partitions})" * bool(partitions and partitions not in why), "red")
        say("")
    show_table(_headline(document))
    show_table(_ranks(document), drop=("compute s", "read s", "peak MB", "galaxies/s"))
    for note in document["notes"]:
        say(f"note: {note}", "dim")
    say(f"report: {document['report']}")


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _flagged(document: dict[str, Any]) -> str:
    """How many objects are unlike the model's training galaxies, if that is known of any."""
    flagged, objects = document.get("out_of_domain"), document.get("objects")
    return f", {flagged / objects:.1%} of the objects out of domain" if flagged and objects else ""


def _headline(document: dict[str, Any]) -> Table:
    from tasks.reporting.formatting import usd

    table = Table(title=f"run {document['result_path']}", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    cost, metrics = document["cost"], document["metrics"]
    done = f"{document['ranks_done']} of {document['ranks_planned']}"
    if document["ranks_resumed"]:
        done += f" ({document['ranks_resumed']} done before)"
    rows = [
        ("ranks done", done),
        ("redshifts", f"{document['samples']:,}{_flagged(document)}"),
        (
            "makespan",
            _number(document["makespan_s"], ".2f", " s, first rank start to last rank end"),
        ),
        ("end to end", _number(document["end_to_end_s"], ".2f", " s")),
        ("throughput", _number(document["samples_per_s"], ",.0f", " galaxies/s over the makespan")),
        (
            "",
            _number(
                document["throughput_bps"] and document["throughput_bps"] / 1e6,
                ",.1f",
                " Mbit/s of model input",
            ),
        ),
        ("cost", f"{usd(cost['usd'])}, {', '.join(filter(None, (cost['method'], cost['label'])))}"),
    ]
    if metrics:
        rows.append(
            (
                "photo-z",
                f"NMAD {metrics['nmad']:.4f}, bias {metrics['bias']:+.4f}, MAE {metrics['mae']:.4f},"
                f" R2 {_number(metrics['r2'], '.3f')}, outliers {metrics['outlier_fraction']:.1%}",
            )
        )
    for name, value in rows:
        table.add_row(name, value)
    return table


def _ranks(document: dict[str, Any]) -> Table:
    rows = document["ranks"]
    shown = rows[:_SHOWN]
    title = "ranks" if len(rows) <= _SHOWN else f"ranks, the first {_SHOWN} of {len(rows)}"
    table = Table(title=title)
    table.add_column("rank", justify="right")
    table.add_column("partition", overflow="fold")
    numbers = {
        "galaxies": ("samples", ",d"),
        "wall s": ("wall_total_s", ".2f"),
        "read s": ("wall_read_s", ".2f"),
        "compute s": ("wall_compute_s", ".2f"),
        "galaxies/s": ("samples_per_s", ",.0f"),
        "peak MB": ("peak_rss_mb", ",.0f"),
    }
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_column("start")
    for failure in document["failed_ranks"][:_SHOWN]:
        paths = ", ".join(failure["data_path"])
        table.add_row(str(failure["rank"]), paths, *["-"] * len(numbers), "FAILED", style="red")
    for row in shown:
        start = "done before" if row["resumed"] else "cold" if row["cold"] else "warm"
        table.add_row(
            str(row["rank"]), row["data_path"], *(f"{row[key]:{form}}" for key, form in numbers.values()), start
        )
    return table

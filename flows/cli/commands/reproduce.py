"""cosmic reproduce: the class report's tables and plots, made anew and set beside the printed ones."""

import argparse

from flows.cli import prefect_server as prefect_api
from flows.cli.options import DEFAULT_STORE, add_json
from flows.cli.terminal import print_json, say

_SCALES = ("small", "report", "full")  # as tasks.reproduction.scales has them, which takes a second to import


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--scale",
        choices=_SCALES,
        default="small",
        help="small: ten minutes on two cores; report: 1 GB; full: 12.6 GB, a day (default %(default)s)",
    )
    parser.add_argument(
        "--store", default=DEFAULT_STORE, metavar="ROOT", help="folder for the local runs (default %(default)s)"
    )
    parser.add_argument(
        "--to", default="reproduction", metavar="FOLDER", help="for the page, tables and plots (default %(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="show Prefect's own log")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Check, run, say where the page is."""
    with prefect_api.connected(
        verbose=args.verbose, left="finished local runs are kept, and the same command goes on from there"
    ) as ready:
        from flows.reproduce import check_reproduction, reproduce
        from tasks.reporting.formatting import duration

        check_reproduction(args.scale, args.store, args.to)
        ready()
        document = prefect_api.call(reproduce, args.scale, args.store, args.to)
    if args.json:
        print_json(document)
    else:
        say(f"The report's tables beside ours, in {duration(document['elapsed_s'])}:")
        say(document["page"])
    return 0

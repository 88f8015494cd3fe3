"""cosmic compare: two runs, or two sweeps, side by side; a gate against regressions."""

import argparse

from flows.cli.options import add_json, add_store
from flows.cli.terminal import console, print_json, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    what = "a run or a sweep: bucket/result_path, or a sweep's folder or JSON file"
    parser.add_argument("a", metavar="A", help=what)
    parser.add_argument("b", metavar="B", help="what is compared with it")
    add_store(parser)
    parser.add_argument(
        "--fail-above",
        type=float,
        metavar="RATIO",
        help="exit with 1 when B is worse than A by more than this ratio, and by more than the noise",
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="what --fail-above looks at, may be given several times (default makespan_s and usd)",
    )
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read both, compare, show."""
    from tasks.sweeps.comparison import GATES, check_gate, compare, load_side
    from tasks.sweeps.comparison_table import comparison_table

    gates = tuple(args.metric or GATES)
    check_gate(args.fail_above, gates)
    comparison = compare(load_side(args.a, args.store), load_side(args.b, args.store), args.fail_above, gates)
    if args.json:
        print_json(comparison)
    else:
        for warning in comparison["warnings"]:
            say(f"WARNING {warning}", "yellow")
        out = console()
        out.print(comparison_table(comparison).to_rich(out.width))
        for sentence in comparison["tripped"]:
            say(f"GATE {sentence}", "red")
    return 1 if comparison["tripped"] else 0

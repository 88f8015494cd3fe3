"""cosmic compare: two runs, or two sweeps, side by side; a gate against regressions."""

import argparse

from flows.cli.options import add_explain, add_json, add_store
from flows.cli.terminal import print_json, say, show_table


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
    parser.add_argument("--all", action="store_true", help="show every figure, also those that hardly differ")
    add_explain(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read both, compare, show."""
    from tasks.reporting.terminal_table import EXPLAIN
    from tasks.sweeps.comparison import GATES, check_gate, compare, load_side
    from tasks.sweeps.comparison_table import comparison_table, has_changed, settings_table, the_rest

    gates = tuple(args.metric or GATES)
    check_gate(args.fail_above, gates)
    comparison = compare(load_side(args.a, args.store), load_side(args.b, args.store), args.fail_above, gates)
    if args.json:
        print_json(comparison)
    else:
        for warning in comparison["warnings"][len(comparison["settings"]) :]:
            say(f"WARNING {warning}", "yellow")
        say(f"A: {comparison['a']}")
        say(f"B: {comparison['b']}\n")
        if comparison["settings"]:
            show_table(settings_table(comparison))
        rows = comparison["rows"] if args.all else [row for row in comparison["rows"] if has_changed(row)]
        if rows:
            show_table(
                comparison_table(comparison, rows, "All figures" if args.all else "Figures that differ"),
                explain=args.explain,
            )
        if not args.all:
            say(the_rest(comparison["rows"]))
        if not args.explain:
            say(EXPLAIN, "dim")
        for sentence in comparison["tripped"]:
            say(f"GATE {sentence}", "red")
    return 1 if comparison["tripped"] else 0

"""cosmic cost: the bill of a run that has been made."""

import argparse

from rich.table import Table

from flows.cli.options import add_json, add_store, bucket_and_path
from flows.cli.terminal import print_json, say, show_table
from tasks.reporting.formatting import number, unit_price, usd

METHODS = ("billed", "used-memory", "as-printed")  # tasks.billing.cost's, whose import takes pydantic's time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("result_path", metavar="RESULT_PATH", help="bucket/result_path")
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="default %(default)s")
    parser.add_argument("--free-tier", action="store_true", help="take off what is free each month, as if unused")
    add_store(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read the run's invocations, print the bill."""
    from tasks.billing.bill_of_run import cost_of_run

    cost = cost_of_run(args.store, *bucket_and_path(args.result_path), args.method, free_tier=args.free_tier)
    if args.json:
        print_json(cost.to_dict())
        return 0
    table = Table(title=f"{args.result_path}: {cost.headline}")
    for name in ("item", "quantity", "unit", "USD a unit", "USD", "quantity is"):
        table.add_column(name, justify="right" if name in {"quantity", "USD a unit", "USD"} else "left")
    for item in cost.items:
        table.add_row(
            item.name,
            number(item.quantity, digits=4),
            item.unit,
            unit_price(item.unit_usd),
            usd(item.usd),
            item.how,
        )
    show_table(table, drop=("USD a unit",))
    say((f"{cost.label}: " if cost.label else "") + cost.how)
    return 0

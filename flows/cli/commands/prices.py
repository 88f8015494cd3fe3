"""cosmic prices: the price book brought up to date from AWS's published price list."""

import argparse

from rich.table import Table

from flows.cli.options import add_json
from flows.cli.terminal import print_json, say, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "regions", nargs="*", metavar="REGION", help="regions to fetch (default: those of the book at hand)"
    )
    parser.add_argument("--url", metavar="URL", help="of the price list (default: AWS's own)")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Fetch, compare, write."""
    from tasks.billing.price_book import load_price_book
    from tasks.billing.published_prices import URL, fetch_region, refresh
    from tasks.reporting.formatting import unit_price

    before = load_price_book()
    regions = args.regions or sorted(before.regions)
    fetched = {region: fetch_region(region, args.url or URL) for region in regions}
    path = refresh(fetched)
    if args.json:
        print_json({"book": path, "regions": {name: each.model_dump(mode="json") for name, each in fetched.items()}})
        return 0
    table = Table(title="USD a GB-second, first tier")
    for name in ("region", "architecture", "before", "now"):
        table.add_column(name, justify="right" if name in {"before", "now"} else "left")
    for region, prices in fetched.items():
        for architecture, tiers in prices.usd_per_gb_s.items():
            old = before.tiers(region, architecture)[0].usd
            table.add_row(region, architecture, unit_price(old), unit_price(tiers[0].usd))
    show_table(table)
    say(f"written: {path}")
    return 0

"""cosmic inspect: what a file is, and what of it would be taken for what."""

import argparse
from pathlib import Path

from flows.cli.commands.partition import mapping_of
from flows.cli.options import add_json
from flows.cli.survey_options import add_column_options, add_pixel_options, column_options, pixel_options
from flows.cli.terminal import print_json, say, show_table
from inference.contract.counted import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a table, a cut-out, a survey in one file, a partition")
    parser.add_argument(
        "--map", action="append", default=[], metavar="WHAT=NAME", help="the array of images, magnitudes or redshifts"
    )
    add_column_options(parser, "id", "ra", "dec", "redshift", "prediction")
    add_pixel_options(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Look, print."""
    from rich.table import Table

    from inference.contract.validation import sanitize_text
    from tasks.survey.inspect_file import inspect_file

    found = inspect_file(args.file, column_options(args), pixel_options(args), mapping_of(args.map))
    if args.json:
        print_json(found.to_dict())
        return 0
    count = "" if found.objects is None else f", {counted(found.objects, 'object')}"
    say(f"{found.file}: {found.form}{count}")
    lines = [*found.facts.items(), *((f"taken for {what}", name) for what, name in found.taken.items())]
    if found.columns:
        shown = [f"{each['name']} ({each['unit']})" if each["unit"] else each["name"] for each in found.columns]
        lines.append(("columns", ", ".join(shown)))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, value in lines:
        table.add_row(sanitize_text(what), sanitize_text(value), style=None)
    show_table(table)
    for doubt in found.doubts:
        say(f"doubtful: {sanitize_text(doubt)}", "yellow")
    return 0

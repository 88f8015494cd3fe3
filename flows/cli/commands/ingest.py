"""cosmic ingest: FITS cut-outs and a table of magnitudes into numbered partitions."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.cli import prefect_server as prefect_api
from flows.cli.options import add_json
from flows.cli.survey_options import add_column_options, add_pixel_options, column_options, pixel_options
from flows.cli.terminal import print_json, say
from tasks.reporting.formatting import file_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "source", type=Path, metavar="DIR_OR_TABLE", help="a folder of cut-outs with their table, or the table"
    )
    parser.add_argument("--to", required=True, metavar="FOLDER_OR_URL", help="a folder, or s3://bucket/prefix")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", default="25MB", metavar="SIZE", help="of a partition (default %(default)s)")
    size.add_argument("--samples", type=int, metavar="N", help="galaxies in a partition")
    parser.add_argument("--format", choices=("pt", "safetensors"), default="pt", help="default %(default)s")
    parser.add_argument("--table", type=Path, metavar="FILE", help="the table, where it is not the only one in DIR")
    add_pixel_options(parser)
    add_column_options(parser, "id", "ra", "dec", "redshift")
    parser.add_argument("--skip-bad", action="store_true", help="leave out rows that cannot be used, and name them")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default one a core)")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Read, write."""
    from inference.contract.counted import counted
    from inference.contract.sample import samples_of_size
    from tasks.survey.making import ingest_folder
    from tasks.survey.partitions import samples_each

    order: dict[str, Any] = {
        "source": str(args.source),
        "to": args.to,
        "size": samples_of_size(args.size) if args.samples is None else samples_each(args.samples),
        "format": args.format,
        "table": None if args.table is None else str(args.table),
        "columns": asdict(column_options(args)),
        "pixels": asdict(pixel_options(args)),
        "skip_bad": args.skip_bad,
        "workers": args.workers,
    }
    with prefect_api.reporting() as reported:
        if reported:
            from flows.ingest import ingest

            made = prefect_api.call(ingest, **order)
        else:
            made = ingest_folder(**order)
    if args.json:
        skipped = [{"row": row, "why": why} for row, why in made.skipped]
        facts = {"partitions": len(made.partitions), "objects": made.galaxies, "skipped": skipped}
        print_json({"to": args.to} | facts | {"columns": made.columns, "notes": made.notes})
        return 0
    say(f"columns: {'; '.join(f'{what} from {name}' for what, name in made.columns.items())}", stderr=True)
    for note in made.notes:
        say(f"note: {note}", stderr=True)
    for row, why in made.skipped[:20]:
        say(f"skipped row {row}: {why}", "yellow", stderr=True)
    if made.skipped:
        say(f"{counted(len(made.skipped), 'row')} skipped, all named in {made.skipped_in}", "yellow")
    partitions = counted(len(made.partitions), "partition")
    say(f"{args.to}: {counted(made.galaxies, 'object')} in {partitions}, {file_size(made.size)}")
    return 0

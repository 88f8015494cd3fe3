"""cosmic ingest: FITS cut-outs and a table of magnitudes into numbered partitions."""

import argparse
from pathlib import Path

from flows.cli.commands.partition import empty_target
from flows.cli.options import add_json
from flows.cli.survey_options import add_column_options, add_pixel_options, column_options, pixel_options
from flows.cli.terminal import print_json, say
from inference.errors import BadInput


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
    from inference.contract.sample import samples_of_size
    from tasks.reporting.terminal import bar
    from tasks.survey.ingest import ingest
    from tasks.survey.object_table import find_table, read_objects
    from tasks.survey.partitions import making_partitions, samples_each

    if args.workers is not None and not 1 <= args.workers <= 1024:
        raise BadInput(f"--workers must be from 1 to 1024, not {args.workers}")
    pixels = pixel_options(args)
    each = samples_of_size(args.size) if args.samples is None else samples_each(args.samples)
    if not args.source.exists():
        raise BadInput(f"there is no folder or table {args.source}")
    folder = args.source if args.source.is_dir() else args.source.parent
    table = args.table or (find_table(folder) if args.source.is_dir() else args.source)
    objects = read_objects(table, folder, column_options(args))
    if not any(objects.cutouts):
        raise BadInput(
            f"there are no cut-outs of the objects of {table} in {folder}: name their folder, as in cosmic ingest"
            " FOLDER --table FILE; a file that holds the images itself is for cosmic partition"
        )
    target = empty_target(args.to)
    done = 0
    with making_partitions(target, "cosmic ingest") as held, bar("cut-outs", len(objects)) as show:
        checked_at = 0

        def progress(count: int) -> None:
            nonlocal done, checked_at
            done += count
            show(done)
            if done - checked_at >= each:  # about once a partition
                held.check()
                checked_at = done

        found = ingest(
            objects,
            each,
            target,
            f".{args.format}",
            pixels=pixels,
            skip_bad=args.skip_bad,
            workers=args.workers,
            progress=progress,
        )
    if args.json:
        skipped = [{"row": row, "why": why} for row, why in found.skipped]
        facts = {"partitions": len(found.written), "objects": found.objects, "skipped": skipped}
        print_json({"to": args.to} | facts | {"columns": objects.columns, "notes": [*objects.notes, *found.notes]})
        return 0
    say(f"columns: {'; '.join(f'{what} from {name}' for what, name in objects.columns.items())}", stderr=True)
    for note in [*objects.notes, *found.notes]:
        say(f"note: {note}", stderr=True)
    for row, why in found.skipped[:20]:
        say(f"skipped row {row}: {why}", "yellow", stderr=True)
    if found.skipped:
        say(f"{len(found.skipped):,} rows skipped, all named in {target.beside('.skipped.csv')}", "yellow")
    megabytes = sum(stored.size for stored in found.written) / 1e6
    say(f"{args.to}: {found.objects:,} objects in {len(found.written)} partitions, {megabytes:.1f} MB")
    return 0

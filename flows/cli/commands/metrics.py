"""cosmic metrics: how good redshifts are, of a run or of any catalogue."""

import argparse
from pathlib import Path

from flows.cli.options import add_explain, add_json, add_store, bucket_and_path
from flows.cli.outputs import held_output
from flows.cli.survey_options import add_column_options, column_options
from flows.cli.terminal import print_json, say, show_table
from inference.contract.counted import counted
from inference.errors import BadInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "place",
        metavar="RESULT_PATH_OR_FILE",
        help="a run, written bucket/result_path, or a table with predicted and spectroscopic redshifts",
    )
    add_store(parser)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write a page, the tables as CSV, the plots as SVG")
    parser.add_argument("--bins", type=int, default=8, metavar="N", help="about how many (default %(default)s)")
    parser.add_argument("--partial", action="store_true", help="take what is there of an incomplete run")
    add_column_options(parser, "redshift", "prediction")
    add_explain(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    from inference.storage.store import Store
    from tasks.photoz.quality import quality_of, read_table, write
    from tasks.reporting.terminal_table import EXPLAIN
    from tasks.run_results.catalogue import calibration_of, read_catalogue

    if not 1 <= args.bins <= 100:
        raise BadInput(f"--bins must be from 1 to 100, not {args.bins}")
    missing, calibration = 0, None
    if Path(args.place).exists() and not (Path(args.store) / args.place).is_dir():
        rows, columns = read_table(Path(args.place), column_options(args))
        say(f"columns: {'; '.join(f'{what} from {name}' for what, name in columns.used.items())}", stderr=True)
        for note in columns.notes:
            say(f"note: {note}", stderr=True)
    else:
        store = Store(args.store)
        bucket, path = bucket_and_path(args.place)
        catalogue = read_catalogue(store, bucket, path, partial=args.partial)
        rows, missing = catalogue.rows, catalogue.provenance["missing_ranks"]
        calibration = calibration_of(store, bucket, catalogue.provenance)
    quality = quality_of(rows, args.place, args.bins, calibration)
    written: list[Path] = []
    if args.to is not None:
        with held_output(args.to, "metrics"):
            written = write(quality, args.to)
    if args.json:
        print_json(quality.to_dict() | {"missing_ranks": missing, "files": [str(path) for path in written]})
        return 0
    for table in quality.tables():
        show_table(table, explain=args.explain)
    if not args.explain:
        say(EXPLAIN, "dim")
    if missing:
        say(f"WARNING the run is incomplete: {counted(missing, 'rank is', 'ranks are')} missing", "yellow")
    if written:
        say(f"page: {written[0]}")
    return 0

"""cosmic catalogue RESULT_PATH: a run's redshifts as one file for other tools."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.options import add_json, add_store, bucket_and_path
from flows.cli.outputs import held_output
from flows.cli.terminal import print_json, say
from inference.contract.counted import counted
from inference.errors import BadInput
from inference.storage.atomic_write import atomic_write
from tasks.reporting.formatting import file_size

if TYPE_CHECKING:
    from inference.storage.lease import HeldLease
    from inference.storage.store import Store
    from tasks.run_results.catalogue import Catalogue

QP_READS = (".hdf5", ".h5", ".hf5", ".hd5")
COLUMNS = {"id": "the object's id", "ra": "the right ascension in degrees", "dec": "the declination in degrees"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("result_path", metavar="RESULT_PATH", help="a run, written bucket/result_path")
    add_store(parser)
    parser.add_argument(
        "--format",
        choices=("parquet", "fits", "votable", "ecsv", "csv", "qp", "rubin", "hats"),
        help="default: as --to ends, else parquet; qp is p(z) for RAIL, rubin is Parquet with Rubin's column names,"
        " hats is a folder that LSDB opens",
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="default redshifts.<format's suffix>")
    parser.add_argument("--name", default="cosmic", help="of the estimator, for --format rubin (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE where it is there")
    parser.add_argument("--partial", action="store_true", help="take what is there of an incomplete run")
    parser.add_argument(
        "--objects",
        type=Path,
        metavar="TABLE",
        help="Parquet: file, index, object_id (ra, dec); default: what cosmic ingest wrote beside the partitions",
    )
    columns = parser.add_argument_group("columns", "names as the table of objects has them")
    for name, default in (("id", "object_id"), ("ra", "ra"), ("dec", "dec")):
        columns.add_argument(f"--{name}", metavar="COLUMN", help=f"of {COLUMNS[name]} (default {default})")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Find the format and the file, then make it."""
    from tasks.run_results.catalogue_formats import SUFFIXES

    suffixes = SUFFIXES | {"qp": ".hdf5", "rubin": ".parquet", "hats": ""}
    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()} | {".xml": "votable", ".hdf5": "qp"}
    suffix = args.to.suffix.lower() if args.to is not None else ".parquet"
    form = args.format or by_suffix.get(suffix)
    if form is None:
        raise BadInput(f"{args.to} does not tell the format: name it with --format")
    if form == "qp" and args.to is not None and suffix not in QP_READS:
        raise BadInput(f"{args.to} has a name that qp.read does not take: end it in {' or '.join(QP_READS)}")
    target = args.to or Path(f"redshifts{suffixes[form]}")
    with held_output(target, "catalogue") as held:
        return _make(args, form, target, held)


def _make(args: argparse.Namespace, form: str, target: Path, held: "HeldLease") -> int:
    """Assemble, write."""
    from inference.storage.store import Store
    from tasks.run_results.catalogue import open_catalogue, read_catalogue
    from tasks.run_results.catalogue_formats import csv_header
    from tasks.run_results.catalogue_hats import write_hats

    header = target.with_name(f"{target.name}.json") if form == "csv" else None
    for path in (target, header):
        if path is not None and path.exists() and not args.overwrite:
            raise BadInput(f"{path} is there already: choose another file with --to, or --overwrite")
    if form == "hats" and target.exists():
        raise BadInput(f"{target} is there already: choose another folder with --to, or remove it")
    bucket, result_path = bucket_and_path(args.result_path)
    _check_readable(args.objects)
    store = Store(args.store)
    given = {"object_id": args.id, "ra": args.ra, "dec": args.dec}
    columns = {field: column for field, column in given.items() if column is not None}
    choice = {"partial": args.partial, "objects": args.objects, "columns": columns}
    without = 0
    if form == "hats":
        with open_catalogue(store, bucket, result_path, **choice) as opened:
            size, objects, known, outliers = write_hats(opened, target, check=held.check)
        provenance = opened.provenance
    else:
        catalogue = read_catalogue(store, bucket, result_path, **choice)
        rows, provenance = catalogue.rows, catalogue.provenance
        size = _write(store, bucket, catalogue, form, target, args.name, held)
        if header is not None:
            with atomic_write(header) as partial:
                partial.write_bytes(csv_header(catalogue))
        objects, known, outliers = len(rows), int(rows["z_spec"].notna().sum()), int(rows["outlier"].sum())
        without = int(rows["z_err68_low"].isna().sum()) if "z_err68_low" in rows else len(rows)
    facts = {"file": str(target), "format": form, "objects": objects, "with_z_spec": known, "bytes": size}
    facts |= {} if header is None else {"header": str(header)}
    facts |= {"without_p_of_z": without} if form in {"qp", "rubin"} else {}
    if args.json:
        print_json(facts | {"outliers": outliers, "provenance": provenance})
        return 0
    say(
        f"{target}: {counted(objects, 'object')}, {known:,} with a spectroscopic redshift,"
        f" {outliers:,} of them outliers; {file_size(size)}"
    )
    if form in {"qp", "rubin"} and without:
        fate = "left out" if form == "qp" else "null"
        say(f"{without:,} of them lie outside the range that was calibrated: their p(z) is {fate}")
    if header is not None:
        say(f"{header}: what the columns are, and where the redshifts come from")
    if provenance["missing_ranks"]:
        say(
            f"WARNING the run is incomplete: {counted(provenance['missing_ranks'], 'rank is', 'ranks are')} missing",
            "yellow",
        )
    return 0


def _write(
    store: "Store", bucket: str, catalogue: "Catalogue", form: str, target: Path, name: str, held: "HeldLease"
) -> int:
    """Write a catalogue that is one file, if it is still ours to write; return its bytes."""
    from tasks.run_results.catalogue import calibration_of
    from tasks.run_results.catalogue_formats import catalogue_bytes
    from tasks.run_results.catalogue_qp import qp_bytes
    from tasks.run_results.catalogue_rubin import rubin_bytes

    if form in {"qp", "rubin"}:
        calibration = calibration_of(store, bucket, catalogue.provenance)
        data = qp_bytes(catalogue, calibration) if form == "qp" else rubin_bytes(catalogue, calibration, name)
    else:
        data = catalogue_bytes(catalogue, form)
    held.check()
    with atomic_write(target) as partial:
        partial.write_bytes(data)
    return len(data)


def _check_readable(path: Path | None) -> None:
    try:
        if path is not None:
            path.open("rb").close()
    except OSError as error:
        raise BadInput(f"cannot read the table of objects {path}: {error.strerror}") from None

"""cosmic partition: a survey file into numbered partitions."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.options import bucket_and_path
from flows.cli.survey_options import add_column_options, add_pixel_options, column_options, pixel_options
from flows.cli.terminal import say
from inference.errors import BadInput
from inference.storage.store import S3_ROOT, Store

if TYPE_CHECKING:
    from tasks.survey.partitions import Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="a survey in one file: .pt, .safetensors, .npz, HDF5, Parquet"
    )
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--size", metavar="SIZE", help='of a partition, as "25MB" (1,278 galaxies)')
    size.add_argument("--samples", type=int, metavar="N", help="galaxies in a partition")
    parser.add_argument("--to", required=True, metavar="FOLDER_OR_URL", help="a folder, or s3://bucket/prefix")
    parser.add_argument("--format", choices=("pt", "safetensors"), default="pt", help="default %(default)s")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="WHAT=NAME",
        help="the array of images, magnitudes or redshifts, as images=x",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out galaxies that cannot be used, and name them")
    add_column_options(parser, "redshift")
    add_pixel_options(parser)


def main(args: argparse.Namespace) -> int:
    """Cut and write."""
    from inference.contract.sample import samples_of_size
    from tasks.reporting.terminal import bar
    from tasks.survey.array_files import open_galaxies
    from tasks.survey.ingest import SKIPPED, skipped_table
    from tasks.survey.partitions import check_source, making_partitions, samples_each, write_partitions

    check_source(args.source)
    pixels = pixel_options(args)
    found = open_galaxies(args.source, mapping_of(args.map), pixels, column_options(args))
    for note in found.notes:
        say(f"note: {note}", stderr=True)
    each = samples_of_size(args.size) if args.size is not None else samples_each(args.samples)
    target = empty_target(args.to)
    survey, bad = found.usable(skip_bad=args.skip_bad, take_blank=pixels.take_blank)
    done = 0
    with making_partitions(target, "cosmic partition") as held, bar("galaxies", len(survey)) as show:

        def progress(count: int) -> None:
            nonlocal done
            done += count
            show(done)
            held.check()

        written = write_partitions(survey, each, target, f".{args.format}", progress)
        if bad:
            target.write_beside(SKIPPED, skipped_table([(row + 1, why) for row, why in bad.items()]))
    say(
        f"{args.to}: {len(written)} partitions of up to {each:,} galaxies,"
        f" {sum(stored.size for stored in written) / 1e6:.1f} MB"
    )
    if bad:
        say(f"{len(bad):,} galaxies left out, all named in {target.beside(SKIPPED)}", "yellow")
    return 0


def mapping_of(words: list[str]) -> dict[str, str]:
    """What `--map images=x` says.

    Raises:
        BadInput: it is written otherwise.
    """
    pairs = [word.partition("=") for word in words]
    for role, equals, name in pairs:
        if not equals or not role or not name:
            raise BadInput(f"--map is written as images=NAME, not {role + equals + name!r:.60}")
    return {role.strip(): name.strip() for role, _, name in pairs}


def empty_target(to: str) -> "Target":
    """The folder or URL that partitions go to.

    Raises:
        BadInput: it is of another form, cannot be written, or holds partitions already.
    """
    from inference.storage.store import check_writable

    target = _target(to)
    check_writable(target.store)
    there = target.partitions()
    if there and not target.is_incomplete():
        raise BadInput(f"{to} holds {len(there)} partitions already: choose another folder, or empty it first")
    return target


def _target(to: str) -> "Target":
    from tasks.survey.partitions import Target

    if to.startswith(S3_ROOT):
        return Target(Store(S3_ROOT), *bucket_and_path(to.removeprefix(S3_ROOT), "--to", "s3://bucket/prefix"))
    folder = Path(to).expanduser().resolve()
    return Target(Store(folder.parent), folder.name, "")

"""cosmic partition: a survey file into numbered partitions."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.cli import prefect_server as prefect_api
from flows.cli.survey_options import add_column_options, add_pixel_options, column_options, pixel_options
from flows.cli.terminal import say
from inference.errors import BadInput
from tasks.reporting.formatting import file_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="a survey in one file (.pt, .safetensors, .npz, HDF5, Parquet, Feather) or a folder of Parquet",
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
    from inference.contract.counted import counted
    from inference.contract.sample import samples_of_size
    from tasks.survey.making import cut_file
    from tasks.survey.partitions import samples_each

    order: dict[str, Any] = {
        "source": str(args.source),
        "to": args.to,
        "size": samples_of_size(args.size) if args.size is not None else samples_each(args.samples),
        "format": args.format,
        "arrays": mapping_of(args.map),
        "columns": asdict(column_options(args)),
        "pixels": asdict(pixel_options(args)),
        "skip_bad": args.skip_bad,
    }
    with prefect_api.reporting() as reported:
        if reported:
            from flows.partition import partition

            made = prefect_api.call(partition, **order)
        else:
            made = cut_file(**order)
    for note in made.notes:
        say(f"note: {note}", stderr=True)
    say(
        f"{made.to}: {counted(len(made.partitions), 'partition')} of up to {counted(made.each, 'galaxy')},"
        f" {file_size(made.size)}"
    )
    if made.skipped:
        say(f"{counted(len(made.skipped), 'galaxy')} left out, named in {made.skipped_in}", "yellow")
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

"""cosmic partition: a survey file into numbered partitions."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.options import bucket_and_path
from flows.cli.terminal import say
from inference.errors import BadInput
from inference.storage.store import S3_ROOT, Store

if TYPE_CHECKING:
    from tasks.survey.partitions import Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a .pt or .safetensors survey")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--size", metavar="SIZE", help='of a partition, as "25MB" (1,278 galaxies)')
    size.add_argument("--samples", type=int, metavar="N", help="galaxies in a partition")
    parser.add_argument("--to", required=True, metavar="FOLDER_OR_URL", help="a folder, or s3://bucket/prefix")
    parser.add_argument("--format", choices=("pt", "safetensors"), default="pt", help="default %(default)s")


def main(args: argparse.Namespace) -> int:
    """Cut and write."""
    from inference.contract.sample import samples_of_size
    from tasks.reporting.terminal import bar
    from tasks.survey.partitions import making_partitions, open_survey, samples_each, write_partitions

    survey = open_survey(args.source)
    each = samples_of_size(args.size) if args.size is not None else samples_each(args.samples)
    target = empty_target(args.to)
    done = 0
    with making_partitions(target, "cosmic partition") as held, bar("galaxies", len(survey)) as show:

        def progress(count: int) -> None:
            nonlocal done
            done += count
            show(done)
            held.check()

        written = write_partitions(survey, each, target, f".{args.format}", progress)
    say(
        f"{args.to}: {len(written)} partitions of up to {each:,} galaxies,"
        f" {sum(stored.size for stored in written) / 1e6:.1f} MB"
    )
    return 0


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

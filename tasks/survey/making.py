"""A survey as somebody has it becomes partitions in an empty folder: cut from one file, or ingested from cut-outs.

All arguments are plain values, so that a command, a flow and a deployment name them alike.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from inference.contract.counted import counted
from inference.contract.object_keys import checked_bucket, checked_key
from inference.contract.validation import shorten
from inference.errors import BadInput
from inference.runs.plan import SUFFIXES
from inference.storage.store import S3_ROOT, Store, StoredObject
from inference.storage.writable import check_writable
from tasks.reporting.terminal import bar
from tasks.survey.array_files import check_scale, open_arrays
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions
from tasks.survey.image_tables import is_folder_of_images
from tasks.survey.ingest import SKIPPED, ingest, skipped_table
from tasks.survey.object_table import find_table, read_objects
from tasks.survey.partitions import Target, check_source, making_partitions, samples_each, write_partitions

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
_Options = TypeVar("_Options", ColumnOptions, PixelOptions)


@dataclass(frozen=True)
class Made:
    """Partitions that were made.

    Attributes:
        to: their folder, as it was named.
        partitions: in order.
        each: galaxies in one, but for the last.
        galaxies: in all of them.
        skipped: row of the source (from 1) and why, of each galaxy that was left out.
        skipped_in: where those are listed.
        columns: what was read from which column.
        notes: sentences that a person should read.
    """

    to: str
    partitions: tuple[StoredObject, ...]
    each: int
    galaxies: int
    skipped: tuple[tuple[int, str], ...]
    skipped_in: str
    columns: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all partitions."""
        return sum(stored.size for stored in self.partitions)


def cut_file(
    source: str,
    to: str,
    size: str | int,
    format: str = "pt",  # noqa: A002 - the option's name
    *,
    arrays: Mapping[str, str] | None = None,
    columns: Mapping[str, Any] | None = None,
    pixels: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    draw: Bar = bar,
) -> Made:
    """Cut a survey in one file into partitions.

    Args:
        source: .pt, .safetensors, .npz, HDF5, Parquet (a file or a folder of them) or Feather.
        to: an empty folder, or s3://bucket/prefix.
        size: of a partition, as "25MB", or galaxies.
        format: `pt` or `safetensors`.
        arrays: names of the arrays that are images, magnitudes and redshifts.
        columns: fields of `ColumnOptions`.
        pixels: fields of `PixelOptions`.
        skip_bad: leave out galaxies that cannot be used, and list them beside the partitions.
        draw: shows how far it is.

    Raises:
        BadInput: the source, an option or the target is not as it must be; nothing was written.
        LeaseHeldError: another process makes partitions there.
        StoreError: the target cannot be written.
    """
    path, suffix, each = Path(source), _suffix(format), samples_each(size)
    check_source(path)
    options = _options(PixelOptions, pixels, "pixels")
    found = open_arrays(path, arrays, options, _options(ColumnOptions, columns, "columns"))
    check_scale(found, options)
    target = empty_target(to)
    survey, bad = found.usable(skip_bad=skip_bad, take_blank=options.take_blank)
    skipped = tuple((row + 1, why) for row, why in bad.items())
    done = 0
    with making_partitions(target, "cosmic partition") as held, draw("galaxies", len(survey)) as show:

        def progress(count: int) -> None:
            nonlocal done
            done += count
            show(done)
            held.check()

        written = write_partitions(survey, each, target, suffix, progress)
        if skipped:
            target.write_beside(SKIPPED, skipped_table(skipped))
    return Made(to, tuple(written), each, len(survey), skipped, str(target.beside(SKIPPED)), {}, survey.notes)


def ingest_folder(
    source: str,
    to: str,
    size: str | int = "25MB",
    format: str = "pt",  # noqa: A002 - the option's name
    *,
    table: str | None = None,
    columns: Mapping[str, Any] | None = None,
    pixels: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    workers: int | None = None,
    draw: Bar = bar,
) -> Made:
    """Read cut-outs and the table of their objects into partitions.

    Args:
        source: a folder of cut-outs with their table, or the table.
        to: an empty folder, or s3://bucket/prefix.
        size: of a partition, as "25MB", or galaxies.
        format: `pt` or `safetensors`.
        table: the table, where it is not the only one in the folder.
        columns: fields of `ColumnOptions`.
        pixels: fields of `PixelOptions`.
        skip_bad: leave out rows that cannot be used, and list them beside the partitions.
        workers: processes; default one a core.
        draw: shows how far it is.

    Raises:
        BadInput: the source, an option or the target is not as it must be; nothing was written.
        CosmicError: a worker process died.
        LeaseHeldError: another process makes partitions there.
        StoreError: the target cannot be written.
    """
    path, suffix, each = Path(source), _suffix(format), samples_each(size)
    if workers is not None and not 1 <= workers <= 1024:
        raise BadInput(f"--workers must be from 1 to 1024, not {workers}")
    if not path.exists():
        raise BadInput(f"there is no folder or table {path}")
    if table is None and is_folder_of_images(path):
        raise BadInput(f"{path} is a table that holds the images itself: cosmic partition {path} cuts it")
    folder = path if path.is_dir() else path.parent
    described = Path(table) if table else (find_table(folder) if path.is_dir() else path)
    options = _options(PixelOptions, pixels, "pixels")
    objects = read_objects(described, folder, _options(ColumnOptions, columns, "columns"), options.wanted)
    if not any(objects.cutouts):
        raise BadInput(
            f"there are no cut-outs of the objects of {described} in {folder}: name their folder, as in cosmic ingest"
            " FOLDER --table FILE; a file that holds the images itself is for cosmic partition"
        )
    target = empty_target(to)
    done = checked_at = 0
    with making_partitions(target, "cosmic ingest") as held, draw("cut-outs", len(objects)) as show:

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
            suffix,
            pixels=options,
            skip_bad=skip_bad,
            workers=workers,
            progress=progress,
        )
    notes = (*objects.notes, *found.notes)
    listed = str(target.beside(SKIPPED))
    return Made(to, found.written, each, found.objects, found.skipped, listed, objects.columns, notes)


def empty_target(to: str) -> Target:
    """The folder or URL that partitions go to.

    Raises:
        BadInput: it is of another form, cannot be written, or holds partitions already.
    """
    target = target_of(to)
    check_writable(target.store)
    there = target.partitions()
    if there and not target.is_incomplete():
        raise BadInput(
            f"{to} holds {counted(len(there), 'partition')} already: choose another folder, or empty it first"
        )
    return target


def target_of(to: str) -> Target:
    """A folder or s3://bucket/prefix, whatever lies there.

    Raises:
        BadInput: it is of another form.
    """
    if to.startswith(S3_ROOT):
        bucket, _, prefix = to.removeprefix(S3_ROOT).partition("/")
        if not prefix:
            raise BadInput(f"--to is written s3://bucket/prefix, not {shorten(bucket, 120)}")
        return Target(Store(S3_ROOT), checked_bucket(bucket, "--to"), checked_key(prefix, "--to"))
    folder = Path(to).expanduser().resolve()
    return Target(Store(folder.parent), folder.name, "")


def _suffix(name: str) -> str:
    if f".{name}" not in SUFFIXES:
        raise BadInput(f"format must be one of {', '.join(each[1:] for each in SUFFIXES)}, not {shorten(name)}")
    return f".{name}"


def _options(kind: type[_Options], given: Mapping[str, Any] | None, name: str) -> _Options:
    """The options of a kind, from their fields by name."""
    known = [field.name for field in fields(kind)]
    unknown = sorted(map(str, set(given or {}) - set(known)))
    if unknown:
        raise BadInput(f"{name} has an unknown key {shorten(unknown[0])}: it has {', '.join(known)}")
    return kind(**(given or {}))

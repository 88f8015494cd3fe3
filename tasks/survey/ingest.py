"""ingest: FITS cut-outs and a table of magnitudes into numbered partitions, with a note of which object lies where."""

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inference.contract.counted import counted, listed
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput, CosmicError
from inference.partitions.partition import partition_bytes
from inference.storage.store import StoredObject
from inference.storage.worker_pool import worker_pool
from tasks.survey.cutouts import Chunk, Cutouts, PixelOptions, read_cutouts
from tasks.survey.object_index import OBJECT_SCHEMA, OBJECTS
from tasks.survey.object_table import Objects
from tasks.survey.partitions import Target
from tasks.survey.photometry import Photometry

SKIPPED = ".skipped.csv"  # beside the partitions: the rows that were left out, and why
_CHUNK = 64  # cut-outs that a worker reads between two reports
_NAMED = 5  # bad rows that an error names; the others it counts


@dataclass(frozen=True)
class Ingested:
    """What became of a survey's objects.

    Attributes:
        written: the partitions, in order.
        objects: how many lie in them.
        skipped: row of the table (from 1) and why, of each that does not.
        notes: what could not be checked.
    """

    written: tuple[StoredObject, ...]
    objects: int
    skipped: tuple[tuple[int, str], ...]
    notes: tuple[str, ...] = ()


def ingest(
    objects: Objects,
    each: int,
    target: Target,
    suffix: str = ".pt",
    *,
    pixels: PixelOptions = PixelOptions(),  # noqa: B008 - frozen
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda objects: None,
) -> Ingested:
    """Read the cut-outs and write partitions of `each` objects, in the table's order, the last one smaller.

    Only a partition and what the workers hold is in memory. When an object cannot be used and `skip_bad` does not say
    otherwise, all the others are still looked at, what was written is removed, and the error names the first few.

    Args:
        objects: from `tasks.survey.object_table.read_objects`.
        each: objects in a partition, at least 1.
        target: an empty folder of a store.
        suffix: `.pt` or `.safetensors`.
        pixels: what is known of the images.
        skip_bad: leave out rows that cannot be used, and note them beside the partitions.
        workers: processes; default one a core. With 1 this process reads.
        progress: called with the number of objects done since the last call.

    Raises:
        BadInput: objects that cannot be used, or none that can; nothing is left of what was written.
        StoreError: the target cannot be written.
        CosmicError: a worker process died.
    """
    bad = dict(objects.faults())
    chunks = _chunks(objects, bad)
    progress(len(bad))
    workers = min(os.cpu_count() or 1 if workers is None else workers, max(len(chunks), 1))
    writer = _Writer(objects, each, target, suffix)
    writer.scale = pixels.said_scale
    without_scale = without_bands = 0
    doubtful, first_doubt = 0, ""
    photometry = Photometry(objects.bands)
    try:
        with _pool(workers) as pool:
            for read in _in_order(pool, partial(read_cutouts, options=pixels), chunks, 3 * workers):
                bad |= dict(read.faults)
                without_scale += read.without_scale
                without_bands += read.without_bands
                doubtful += len(read.doubts)
                first_doubt = first_doubt or next(iter(read.doubts), "")
                photometry.add(read.images, objects.magnitudes[read.rows])
                if read.without_scale < len(read.rows):  # those that say it were found to be alike
                    writer.scale = pixels.scale
                if skip_bad or not bad:
                    writer.add(read.rows, read.images)
                progress(len(read.rows) + len(read.faults))
        skipped = tuple((row + 1, why) for row, why in sorted(bad.items()))
        if skipped and not skip_bad:
            raise BadInput(_sentence(objects, skipped))
        if not writer.rows + len(writer.waiting):
            raise BadInput(f"no object of {objects.name} can be used; {_named(skipped)}")
        writer.finish(skipped)
    except BrokenProcessPool:
        writer.undo()
        raise CosmicError("a worker process died while it read cut-outs: out of memory?") from None
    except BaseException:
        writer.undo()
        raise
    notes = photometry.notes()
    if without_scale:
        fate = f", and the partitions will not say it either: where it is known, --scale {pixels.scale:g} states it"
        if writer.scale is not None:
            fate = f": taken as {writer.scale:g} arcseconds"
        notes.append(f"{without_scale:,} cut-outs do not say how large their pixels are{fate}")
    if without_bands:
        notes.append(
            f"{without_bands:,} cut-outs do not say in which order their bands are: taken as {' '.join(objects.bands)}"
        )
    if doubtful:
        notes.append(f"{counted(doubtful, 'cut-out')} with doubtful headers, the first: {first_doubt}")
    return Ingested(tuple(writer.written), writer.rows, skipped, tuple(notes))


def _chunks(objects: Objects, bad: dict[int, str]) -> list[Chunk]:
    good = [row for row in range(len(objects)) if row not in bad]
    parts = [good[start : start + _CHUNK] for start in range(0, len(good), _CHUNK)]
    places = np.column_stack([objects.ra, objects.dec])
    return [Chunk(rows, [objects.cutouts[row] for row in rows], places[rows]) for rows in parts]


def _pool(workers: int) -> Any:
    if workers <= 1:
        return nullcontext()
    return worker_pool(workers)


def _in_order(
    pool: Executor | None, read: Callable[[Chunk], Cutouts], chunks: Sequence[Chunk], ahead: int
) -> Iterator[Cutouts]:
    """Each chunk's result, no more than `ahead` of them being read or waiting."""
    if pool is None:
        yield from map(read, chunks)
        return
    waiting: deque[Future[Cutouts]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(read, chunk))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Writer:
    """Partitions as they fill up, and the note of what lies where."""

    def __init__(self, objects: Objects, each: int, target: Target, suffix: str) -> None:
        self._objects, self._each, self._target, self._suffix = objects, each, target, suffix
        self.waiting: list[tuple[int, np.ndarray]] = []
        self.written: list[StoredObject] = []
        self.rows = 0
        self.scale: float | None = None
        self._places: list[pa.Table] = []
        self._notes: list[str] = []

    def add(self, rows: Sequence[int], images: np.ndarray) -> None:
        self.waiting += zip(rows, images, strict=True)
        while len(self.waiting) >= self._each:
            self._write(self.waiting[: self._each])
            del self.waiting[: self._each]

    def finish(self, skipped: Sequence[tuple[int, str]]) -> None:
        if self.waiting:
            self._write(self.waiting)
            self.waiting = []
        places = io.BytesIO()
        pq.write_table(pa.concat_tables(self._places), places, compression="zstd")
        self._note(OBJECTS, places.getvalue())
        if skipped:
            self._note(SKIPPED, skipped_table(skipped))

    def undo(self) -> None:
        """Remove what was written."""
        store, bucket = self._target.store, self._target.bucket
        store.delete(bucket, [stored.key for stored in self.written])
        for suffix in self._notes:
            self._target.remove_beside(suffix)

    def _note(self, suffix: str, data: bytes) -> None:
        self._target.write_beside(suffix, data)
        self._notes.append(suffix)

    def _write(self, part: Sequence[tuple[int, np.ndarray]]) -> None:
        rows = [row for row, _ in part]
        objects, name = self._objects, f"{len(self.written) + 1}{self._suffix}"
        data = partition_bytes(
            np.stack([image for _, image in part]),
            objects.magnitudes[rows],
            objects.redshifts[rows],
            self._suffix,
            replace(SurveyFacts.of_sdss_bands(self.scale), bands=objects.bands),
        )
        key = self._target.key(name)
        self.written.append(StoredObject(key, len(data), ""))  # so that it is removed if its writing fails half way
        self._target.store.write(self._target.bucket, key, data)
        self.rows += len(rows)
        columns = {
            "file": [name] * len(rows),
            "index": range(len(rows)),
            "object_id": objects.ids[rows].tolist(),
            "ra": objects.ra[rows],
            "dec": objects.dec[rows],
            "z_spec": objects.redshifts[rows],
        }
        arrays = [
            pa.array(columns[field.name], field.type, from_pandas=field.name in {"ra", "dec"})
            for field in OBJECT_SCHEMA
        ]
        self._places.append(pa.table(arrays, schema=OBJECT_SCHEMA))


def skipped_table(skipped: Sequence[tuple[int, str]]) -> bytes:
    """Rows that were left out, counted from 1, and why, as CSV."""
    import pandas as pd

    return pd.DataFrame(skipped, columns=["row", "why"]).to_csv(index=False).encode()


def _sentence(objects: Objects, bad: Sequence[tuple[int, str]]) -> str:
    are = "row is" if len(bad) == 1 else "rows are"
    what = f"{len(bad):,} of {len(objects):,} {are} bad in {objects.name}"
    return f"{what}: {_named(bad)}; mend them, or leave them out with --skip-bad"


def _named(bad: Sequence[tuple[int, str]]) -> str:
    return listed((f"row {row}: {why}" for row, why in bad), most=_NAMED, joint="; ")

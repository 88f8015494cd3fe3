"""A run's redshifts as a HATS catalogue: a folder of Parquet files, one for each part of the sky, which LSDB opens.

Parts are HEALPix pixels of the order that keeps each of them below a number of rows. Rows of a part are in the order of
`_healpix_29`, the pixel of order 29 that an object lies in. There is no margin catalogue. In memory are a part of the
sky, a part of the run, and the map of counts (100 MB). Source: IVOA Note "HATS: A Standard for the Hierarchical
Adaptive Tiling Scheme in the Virtual Observatory" (2025).
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from inference.contract.counted import counted
from inference.errors import BadInput
from inference.storage.atomic_write import atomic_folder
from tasks.reporting.terminal import bar
from tasks.run_results.catalogue import Catalogue, CatalogueParts
from tasks.run_results.catalogue_formats import file_metadata, parquet_table
from tasks.run_results.unique_ids import UniqueIds

ROWS_A_PART = 1_000_000
SPATIAL_INDEX = "_healpix_29"
_FINEST = 10  # order of the map of counts from which parts are made


class Written(NamedTuple):
    """What a catalogue came to."""

    size: int
    objects: int
    with_z_spec: int
    outliers: int


def write_hats(
    catalogue: CatalogueParts,
    folder: Path,
    rows_a_part: int = ROWS_A_PART,
    *,
    check: Callable[[], None] = lambda: None,
) -> Written:
    """Write the catalogue as a folder; where it is interrupted, there is no folder of that name.

    The run is read twice: to count what lies where, and to sort its rows into parts, which wait on disk in pieces.

    Args:
        catalogue: a run's redshifts.
        folder: to write, whose name is the catalogue's; must not be there.
        rows_a_part: no part holds more, unless so many lie within a pixel of 3.4 arc minutes.
        check: called before the folder gets its name; what it raises is passed on, and there is no folder.

    Raises:
        BadInput: hats is not installed, an object has no place on the sky, or an id stands twice.
    """
    try:
        import hats  # noqa: F401
    except ImportError:
        raise BadInput("the format hats needs the library hats: pip install 'cosmic-flows[hats]'") from None
    with atomic_folder(folder) as partial:
        waiting = partial / ".waiting"
        waiting.mkdir()
        counts, written = _count(catalogue, waiting)
        parts = _Parts(counts, rows_a_part)
        _set_down(catalogue, parts, waiting)
        facts = Catalogue(pd.DataFrame(), catalogue.provenance, catalogue.partitions)
        pixels = sorted({parts.pixel(int(name.name)) for name in waiting.glob("*/")}, key=lambda pixel: pixel[2])
        with bar("Writing parts of the sky", len(pixels)) as step:
            for done, (order, pixel, start) in enumerate(pixels, start=1):
                pieces = waiting / str(start)
                _write_part(_sorted(pieces), facts, partial, order, pixel)
                shutil.rmtree(pieces)
                step(done)
        shutil.rmtree(waiting)
        _write_facts(facts, partial, folder.name, pixels, counts, written.objects)
        size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
        check()
    return written._replace(size=size)


def _count(catalogue: CatalogueParts, waiting: Path) -> tuple[np.ndarray, Written]:
    """How many objects lie in each pixel of the finest order, and whether all have a place and an id of their own."""
    from hats.pixel_math import spatial_index_to_healpix

    counts = np.zeros(12 * 4**_FINEST, np.int64)
    ids, written = UniqueIds(waiting), Written(0, 0, 0, 0)
    lost, first = 0, pd.DataFrame()
    for rows in catalogue.parts():
        wrong = _without_place(rows)
        lost, first = lost + int(wrong.sum()), first if lost else rows[wrong].head(1)
        if lost:
            continue
        pixels, number = np.unique(spatial_index_to_healpix(_index(rows), _FINEST), return_counts=True)
        counts[pixels] += number
        ids.add(rows["object_id"])
        known, outliers = int(rows["z_spec"].notna().sum()), int(rows["outlier"].sum())
        written = Written(0, written[1] + len(rows), written[2] + known, written[3] + outliers)
    if lost:
        row = first.iloc[0]
        raise BadInput(
            f"{counted(lost, 'object has', 'objects have')} no place on the sky; the first is"
            f" {row['object_id']!r:.80} with"
            f" ra {row['ra']} and dec {row['dec']}, where 0 to 360 and -90 to 90 degrees are possible"
        )
    if not written.objects:
        raise BadInput("the run has no objects, and a HATS catalogue needs one at least")
    ids.check(catalogue.parts)
    for path in waiting.glob("*.ids"):
        path.unlink()
    return counts, written


def _without_place(rows: pd.DataFrame) -> np.ndarray:
    if "ra" not in rows or "dec" not in rows:
        raise BadInput(
            "a HATS catalogue needs ra and dec, which this run's partitions do not tell: make them with cosmic ingest"
            " from a table that has them, or name a table of objects with --objects"
        )
    ra, dec = rows["ra"].to_numpy(np.float64), rows["dec"].to_numpy(np.float64)
    return np.asarray(~((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)))  # of NaN, too


def _index(rows: pd.DataFrame) -> np.ndarray:
    from hats.pixel_math import compute_spatial_index

    found: np.ndarray = compute_spatial_index(rows["ra"].to_numpy(np.float64), rows["dec"].to_numpy(np.float64))
    return found


class _Parts:
    """Which part of the sky each pixel of the finest order needed belongs to."""

    def __init__(self, counts: np.ndarray, rows_a_part: int) -> None:
        from hats.pixel_math import generate_alignment

        threshold = max(rows_a_part, int(counts.max()))
        self.order, pixels = _finest_needed(counts, threshold)
        self._parts = generate_alignment(pixels, highest_order=self.order, threshold=threshold)

    def pixel(self, fine: int) -> tuple[int, int, int]:
        """Order and pixel of the part that a fine pixel lies in, and the part's first fine pixel, which names it."""
        order, pixel = (int(number) for number in self._parts[fine][:2])
        return order, pixel, pixel << 2 * (self.order - order)


def _set_down(catalogue: CatalogueParts, parts: _Parts, waiting: Path) -> None:
    """Write each part's rows as pieces into a folder of its own, a piece for each part of the run."""
    from hats.pixel_math import spatial_index_to_healpix

    options = pa.ipc.IpcWriteOptions(compression="zstd")
    for number, rows in enumerate(catalogue.parts()):
        index = _index(rows)
        order = np.argsort(index, kind="stable")
        table = parquet_table(Catalogue(rows, {}, catalogue.partitions.head(0)))
        table = table.add_column(0, pa.field(SPATIAL_INDEX, pa.int64()), pa.array(index.astype(np.int64)))
        table = table.replace_schema_metadata(None).take(order)
        fine, starts = np.unique(spatial_index_to_healpix(index[order], parts.order), return_index=True)
        names = [parts.pixel(int(pixel))[2] for pixel in fine]
        cuts = [place for place in range(len(names)) if not place or names[place] != names[place - 1]]
        ends = [*(int(starts[cut]) for cut in cuts[1:]), len(order)]
        for cut, end in zip(cuts, ends, strict=True):
            path = waiting / str(names[cut]) / f"{number}.arrow"
            path.parent.mkdir(exist_ok=True)
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
                writer.write_table(table.slice(starts[cut], end - starts[cut]))


def _sorted(pieces: Path) -> pa.Table:
    def tables() -> Iterator[pa.Table]:
        for path in sorted(pieces.iterdir(), key=lambda path: int(path.stem)):
            with pa.OSFile(str(path)) as file:
                yield pa.ipc.open_file(file).read_all()

    table = pa.concat_tables(tables())
    return table.take(np.argsort(table[SPATIAL_INDEX].to_numpy(), kind="stable"))


def _finest_needed(counts: np.ndarray, threshold: int) -> tuple[int, np.ndarray]:
    """The lowest order at which no pixel holds more than the threshold, and the counts there: no part is finer.

    hats walks through all pixels of the finest order in Python: through 12.6 million of order 10, eight seconds.
    """
    order = _FINEST
    while order and (coarser := counts.reshape(-1, 4).sum(axis=1)).max() <= threshold:
        order, counts = order - 1, coarser
    return order, counts


def _write_part(rows: pa.Table, facts: Catalogue, folder: Path, order: int, pixel: int) -> None:
    from hats.io.paths import pixel_catalog_file
    from hats.pixel_math import HealpixPixel

    path = Path(str(pixel_catalog_file(folder, HealpixPixel(order, pixel))))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.replace_schema_metadata(file_metadata(facts)), path, compression="zstd")


def _write_facts(
    catalogue: Catalogue, folder: Path, name: str, parts: list[tuple[int, int, int]], counts: np.ndarray, total: int
) -> None:
    from hats.catalog import PartitionInfo, TableProperties
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.io.skymap import write_skymap
    from hats.pixel_math import HealpixPixel

    pixels = [HealpixPixel(order, pixel) for order, pixel, _ in parts]
    write_parquet_metadata(folder, create_thumbnail=True)
    PartitionInfo.from_healpix(pixels).write_to_file(catalog_path=folder)
    write_skymap(counts, folder)
    facts: dict[str, Any] = {
        f"cosmic_{key}": str(value) for key, value in catalogue.provenance.items() if value is not None
    }
    facts |= {
        "catalog_name": name,
        "catalog_type": "object",
        "total_rows": total,
        "ra_column": "ra",
        "dec_column": "dec",
        "healpix_column": SPATIAL_INDEX,
        "healpix_order": 29,
        "skymap_order": _FINEST,
        "hats_builder": str(catalogue.provenance["creator"]),
        "hats_creation_date": str(catalogue.provenance["created"]),
    }
    TableProperties(**facts).to_properties_file(folder)
    partitions = catalogue.partitions.to_dict("records")
    (folder / "partitions.json").write_text(json.dumps(partitions, indent=1) + "\n")

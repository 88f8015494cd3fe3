"""A run's redshifts as a HATS catalogue: a folder of Parquet files, one for each part of the sky, which LSDB opens.

Parts are HEALPix pixels of the order that keeps each of them below a number of rows. Rows of a part are in the order of
`_healpix_29`, the pixel of order 29 that an object lies in. There is no margin catalogue: LSDB makes one when it needs
it. Source: IVOA Note "HATS: A Standard for the Hierarchical Adaptive Tiling Scheme in the Virtual Observatory" (2025).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inference.errors import BadInput
from inference.storage.atomic_write import atomic_folder
from tasks.reporting.terminal import bar
from tasks.run_results.catalogue import Catalogue
from tasks.run_results.catalogue_formats import parquet_table

ROWS_A_PART = 1_000_000
SPATIAL_INDEX = "_healpix_29"
_FINEST = 10  # order of the map of counts from which parts are made


def check_places(catalogue: Catalogue) -> None:
    """Check that each object has a place on the sky.

    Raises:
        BadInput: the run knows no places, or a place is no place on the sky; names the first such object.
    """
    rows = catalogue.rows
    if "ra" not in rows or "dec" not in rows:
        raise BadInput(
            "a HATS catalogue needs ra and dec, which this run's partitions do not tell: make them with cosmic ingest"
            " from a table that has them, or name a table of objects with --objects"
        )
    ra, dec = rows["ra"].to_numpy(np.float64), rows["dec"].to_numpy(np.float64)
    wrong = ~((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90))  # of NaN, too
    if wrong.any():
        first = rows[wrong].iloc[0]
        raise BadInput(
            f"{int(wrong.sum()):,} objects have no place on the sky; the first is {first['object_id']!r:.80} with"
            f" ra {first['ra']} and dec {first['dec']}, where 0 to 360 and -90 to 90 degrees are possible"
        )


def write_hats(catalogue: Catalogue, folder: Path, rows_a_part: int = ROWS_A_PART) -> int:
    """Write the catalogue as a folder; where it is interrupted, there is no folder of that name.

    Args:
        catalogue: a run's redshifts.
        folder: to write, whose name is the catalogue's; must not be there.
        rows_a_part: no part holds more, unless so many lie within a pixel of 3.4 arc minutes.

    Returns:
        Bytes written.

    Raises:
        BadInput: hats is not installed, or an object has no place (`check_places`).
    """
    try:
        from hats.pixel_math import compute_spatial_index, generate_alignment, spatial_index_to_healpix
    except ImportError:
        raise BadInput("the format hats needs the library hats: pip install 'cosmic-flows[hats]'") from None
    check_places(catalogue)
    ra, dec = catalogue.rows["ra"].to_numpy(np.float64), catalogue.rows["dec"].to_numpy(np.float64)
    index = compute_spatial_index(ra, dec)
    counts = np.bincount(spatial_index_to_healpix(index, _FINEST), minlength=12 * 4**_FINEST)
    threshold = max(rows_a_part, int(counts.max()))
    finest, pixels = _finest_needed(counts, threshold)
    parts = generate_alignment(pixels, highest_order=finest, threshold=threshold)
    table = parquet_table(catalogue)
    table = table.add_column(0, pa.field(SPATIAL_INDEX, pa.int64()), pa.array(index.astype(np.int64)))
    order = np.argsort(index, kind="stable")
    part_of_row = [parts[pixel][:2] for pixel in spatial_index_to_healpix(index, finest)[order]]
    starts = [0, *(n for n in range(1, len(order)) if part_of_row[n] != part_of_row[n - 1])]
    with atomic_folder(folder) as partial:
        with bar("Writing parts of the sky", len(starts)) as step:
            for done, (start, end) in enumerate(zip(starts, [*starts[1:], len(order)], strict=True), start=1):
                _write_part(table.take(order[start:end]), partial, *map(int, part_of_row[start]))
                step(done)
        _write_facts(catalogue, partial, folder.name, [part_of_row[start] for start in starts], counts)
        return sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())


def _finest_needed(counts: np.ndarray, threshold: int) -> tuple[int, np.ndarray]:
    """The lowest order at which no pixel holds more than the threshold, and the counts there: no part is finer.

    hats walks through all pixels of the finest order in Python: through 12.6 million of order 10, eight seconds.
    """
    order = _FINEST
    while order and (coarser := counts.reshape(-1, 4).sum(axis=1)).max() <= threshold:
        order, counts = order - 1, coarser
    return order, counts


def _write_part(rows: pa.Table, folder: Path, order: int, pixel: int) -> None:
    from hats.io.paths import pixel_catalog_file
    from hats.pixel_math import HealpixPixel

    path = Path(str(pixel_catalog_file(folder, HealpixPixel(order, pixel))))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, compression="zstd")


def _write_facts(catalogue: Catalogue, folder: Path, name: str, parts: list[Any], counts: np.ndarray) -> None:
    from hats.catalog import PartitionInfo, TableProperties
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.io.skymap import write_skymap
    from hats.pixel_math import HealpixPixel

    pixels = [HealpixPixel(int(order), int(pixel)) for order, pixel in parts]
    write_parquet_metadata(folder, create_thumbnail=True)
    PartitionInfo.from_healpix(pixels).write_to_file(catalog_path=folder)
    write_skymap(counts, folder)
    facts: dict[str, Any] = {
        f"cosmic_{key}": str(value) for key, value in catalogue.provenance.items() if value is not None
    }
    facts |= {
        "catalog_name": name,
        "catalog_type": "object",
        "total_rows": len(catalogue.rows),
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

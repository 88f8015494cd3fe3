"""HATS catalogues, validated and read back by the library hats."""

import dataclasses
import json
import subprocess
import sys

import lsdb
import numpy as np
import pandas as pd
import pytest
from hats import read_hats
from hats.io.validation import is_valid_catalog
from hats.pixel_math import compute_spatial_index

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.run_results.catalogue import CatalogueParts, read_catalogue
from tasks.run_results.catalogue_hats import SPATIAL_INDEX, write_hats
from tests.support.finished_run import BUCKET, PATH, finished_run
from tests.support.surveys import SIZES


@pytest.fixture
def catalogue(tmp_path):
    """Objects all over the sky."""
    finished_run(tmp_path)
    found = read_catalogue(Store(tmp_path), BUCKET, PATH)
    rng = np.random.default_rng(3)
    count = len(found.rows)
    places = {"ra": rng.uniform(0, 360, count), "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, count)))}
    return dataclasses.replace(found, rows=found.rows.assign(**places))


def written(catalogue, folder, rows_a_part=1_000_000, each=50):
    """Write rows in parts of `each`; return the bytes written."""
    rows = catalogue.rows
    parts = [rows.iloc[start : start + each] for start in range(0, len(rows), each)]
    opened = CatalogueParts(lambda: iter(parts), catalogue.provenance, catalogue.partitions)
    return write_hats(opened, folder, rows_a_part).size


def parts_of(folder):
    return [pd.read_parquet(path) for path in sorted(folder.glob("dataset/Norder=*/Dir=*/Npix=*.parquet"))]


@pytest.mark.parametrize("rows_a_part", [1_000_000, 8])
def test_folder_is_valid_and_holds_each_object_in_its_part(catalogue, tmp_path, rows_a_part):
    folder = tmp_path / "redshifts"
    size = written(catalogue, folder, rows_a_part)
    assert is_valid_catalog(folder, strict=True)
    found = read_hats(folder)
    assert (found.catalog_info.total_rows, found.catalog_info.ra_column) == (sum(SIZES), "ra")
    assert found.catalog_info.catalog_name == "redshifts"
    parts = parts_of(folder)
    assert len(parts) == len(found.get_healpix_pixels())
    assert max(map(len, parts)) <= rows_a_part
    assert (len(parts) > 12) == (rows_a_part == 8)
    rows = pd.concat(parts)
    expected = catalogue.rows.set_index("object_id").loc[rows["object_id"]]
    np.testing.assert_array_equal(rows["z_pred"], expected["z_pred"])
    np.testing.assert_array_equal(rows[SPATIAL_INDEX], compute_spatial_index(rows["ra"].array, rows["dec"].array))
    assert all(part[SPATIAL_INDEX].is_monotonic_increasing for part in parts)
    assert size > sum(path.stat().st_size for path in folder.rglob("Npix=*"))


def test_folder_says_where_its_redshifts_come_from(catalogue, tmp_path):
    written(catalogue, tmp_path / "z")
    assert read_hats(tmp_path / "z").catalog_info.cosmic_model_sha256 == "ab" * 32
    assert [part["rows"] for part in json.loads((tmp_path / "z/partitions.json").read_text())] == list(SIZES)


def test_objects_at_one_place_stay_in_one_part_however_many(catalogue, tmp_path):
    at_one = dataclasses.replace(catalogue, rows=catalogue.rows.assign(ra=10.0, dec=-89.9))
    written(at_one, tmp_path / "z", rows_a_part=10)
    assert [len(part) for part in parts_of(tmp_path / "z")] == [sum(SIZES)]
    assert is_valid_catalog(tmp_path / "z", strict=True)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (None, "needs ra and dec, which this run's partitions do not tell"),
        ({"ra": np.nan}, "135 objects have no place on the sky"),
        ({"ra": 361.0}, "with ra 361.0"),
        ({"dec": -91.0}, "and dec -91.0"),
    ],
)
def test_objects_without_a_place_are_refused_and_nothing_is_written(catalogue, tmp_path, places, message):
    rows = catalogue.rows.drop(columns=["ra", "dec"]) if places is None else catalogue.rows.assign(**places)
    with pytest.raises(BadInput, match=message):
        written(dataclasses.replace(catalogue, rows=rows), tmp_path / "z")
    assert not list(tmp_path.glob("*z*"))


def test_a_run_without_objects_is_refused_and_nothing_is_written(catalogue, tmp_path):
    with pytest.raises(BadInput, match="the run has no objects"):
        written(dataclasses.replace(catalogue, rows=catalogue.rows.head(0)), tmp_path / "redshifts")
    assert not (tmp_path / "redshifts").exists()


def test_an_id_that_stands_twice_in_other_parts_is_refused(catalogue, tmp_path):
    ids = catalogue.rows["object_id"].tolist()
    twice = catalogue.rows.assign(object_id=[*ids[:-1], ids[0]])
    with pytest.raises(BadInput, match=r"the object id 'survey/1.pt:0' stands twice, row 0 of survey/1.pt and row"):
        written(dataclasses.replace(catalogue, rows=twice), tmp_path / "z")
    assert not list(tmp_path.glob("*z*"))


@pytest.mark.slow
def test_lsdb_finds_each_object_in_a_cross_match_with_itself(catalogue, tmp_path):
    written(catalogue, tmp_path / "z", rows_a_part=20)
    opened = lsdb.open_catalog(tmp_path / "z")
    pairs = opened.crossmatch(opened, radius_arcsec=1, n_neighbors=1, suffixes=("", "_2")).compute()
    assert sorted(pairs["object_id"]) == sorted(catalogue.rows["object_id"])
    assert (pairs["object_id"] == pairs["object_id_2"]).all()
    assert pairs["_dist_arcsec"].max() == 0


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd
from tasks.run_results.catalogue import CatalogueParts
from tasks.run_results.catalogue_hats import write_hats
count, each, folder = int(sys.argv[1]), 100_000, Path(sys.argv[2])

def parts():
    for start in range(0, count, each):
        rng, row = np.random.default_rng(start), np.arange(start, start + each)
        z = rng.uniform(0, 0.5, each)
        yield pd.DataFrame({
            "object_id": pd.Series(row).map("J{:012d}".format), "ra": rng.uniform(0, 360, each),
            "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, each))), "z_pred": z.astype("float32"), "z_spec": z,
            "delta": z * 0, "outlier": pd.array(z > 1, dtype="boolean"), "mag_r": z.astype("float32"),
            "partition": "survey/1.pt", "row": row,
        })

partitions = pd.DataFrame({"key": ["survey/1.pt"], "etag": ["e"], "rows": [count]})
provenance = {"creator": "cosmic-flows", "created": "2026-11-24T10:00:00+00:00"}
write_hats(CatalogueParts(parts, provenance, partitions), folder, rows_a_part=100_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def peak(count, folder):
    """Megabytes that a process which writes so many objects holds at most."""
    words = [sys.executable, "-c", PEAK, str(count), str(folder)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.soak
def test_memory_does_not_grow_with_the_number_of_objects(tmp_path):
    peaks = [peak(count, tmp_path / str(count)) for count in (1_000_000, 4_000_000)]
    print(peaks)
    assert peaks[1] < 1.25 * peaks[0]

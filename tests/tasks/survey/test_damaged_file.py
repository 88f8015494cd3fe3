"""A file that its library cannot read is refused in this project's words: which file, what it is, what to do."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from inference.errors import BadInput
from tasks.survey.array_files import open_galaxies
from tasks.survey.damaged_file import damaged_file
from tasks.survey.table_file import read_table_file

COLUMNS = {"objid": np.arange(500), "mag_r": np.linspace(18, 22, 500)}


def hdf5(path):
    with h5py.File(path, "w") as file:
        for name, values in COLUMNS.items():
            file[f"photometry/{name}"] = values


def stream(path):
    table = pa.table(COLUMNS)
    with pa.ipc.new_stream(path, table.schema) as sink:
        sink.write_table(table)


WRITERS = {
    "Parquet": lambda path: pq.write_table(pa.table(COLUMNS), path),
    "Feather": lambda path: feather.write_feather(pa.table(COLUMNS), str(path)),
    "a stream of Arrow": stream,
    "HDF5": hdf5,
    "FITS": lambda path: Table(COLUMNS).write(path, format="fits"),
    "an array of numpy": lambda path: np.save(path.open("wb"), Table(COLUMNS).as_array()),
}


@pytest.mark.parametrize("form", WRITERS)
def test_damaged_file_is_named_with_its_form_and_the_way_on(tmp_path, form):
    path = tmp_path / "cut"
    WRITERS[form](path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInput) as caught:
        read_table_file(path)
    assert f"{path} as a table: it begins as {form} and is cut short, damaged" in str(caught.value)
    assert "copy it anew" in str(caught.value)


def test_damaged_file_of_arrays_is_named_with_the_way_on(tmp_path):
    WRITERS["HDF5"](tmp_path / "cut")
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:3000])
    with pytest.raises(BadInput, match=r"cut: it begins as HDF5 and is cut short, damaged .* copy it anew"):
        open_galaxies(tmp_path / "cut")


def test_damaged_file_says_so_where_memory_ended(tmp_path):
    said = str(damaged_file(tmp_path / "big.h5", MemoryError("Unable to allocate"), " as a table"))
    assert said.endswith("big.h5 as a table: it needs more memory than there is")

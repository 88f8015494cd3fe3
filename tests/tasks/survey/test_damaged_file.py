"""A file that its library cannot read is refused in this project's words: which file, what it is, what to do."""

import os
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from inference.errors import BadInput
from tasks.survey.array_files import open_arrays
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions, read_cutout
from tasks.survey.damaged_file import damaged_file
from tasks.survey.inspect_file import inspect_file
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
        open_arrays(tmp_path / "cut")


def test_damaged_file_says_so_where_memory_ended(tmp_path):
    said = str(damaged_file(tmp_path / "big.h5", MemoryError("Unable to allocate"), " as a table"))
    assert said.endswith("big.h5 as a table: it needs more memory than there is")


READERS = {
    "inspect": lambda path: inspect_file(path, ColumnOptions(), PixelOptions(), {}),
    "table": read_table_file,
    "survey": open_arrays,
    "cut-out": lambda path: read_cutout([path], PixelOptions()),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("device", [None, "/dev/zero"])
def test_pipe_or_device_is_refused_before_it_is_opened(tmp_path, name, device):
    path = tmp_path / "pipe"
    path.symlink_to(device) if device else os.mkfifo(path)
    with pytest.raises(BadInput, match=r"pipe is a pipe or a device: write what it gives into a file first"):
        READERS[name](path)


@pytest.mark.parametrize("entry", ["[Content_Types].xml", "mimetype"])
@pytest.mark.parametrize("name", ["inspect", "table", "survey"])
def test_workbook_of_a_spreadsheet_is_refused_with_the_way_on(tmp_path, entry, name):
    with zipfile.ZipFile(tmp_path / "book", "w") as archive:
        archive.writestr(entry, "application/vnd.oasis.opendocument.spreadsheet")
    with pytest.raises(BadInput, match=r"book is an (Excel|OpenDocument) workbook: save the sheet as CSV"):
        READERS[name](tmp_path / "book")


def test_folder_of_a_hats_catalogue_is_not_taken_for_its_list_of_pixels(tmp_path):
    (tmp_path / "dataset").mkdir()
    WRITERS["Parquet"](tmp_path / "dataset" / "Npix=0.parquet")
    (tmp_path / "partition_info.csv").write_text("Norder,Npix\n../../etc,passwd\n")
    (tmp_path / "hats.properties").write_text("hats_nrows=1e99\n<script>=\x1b[2J\n")
    found = inspect_file(tmp_path, ColumnOptions(), PixelOptions(), {})
    assert (found.form, found.objects) == ("a table of HATS", 500)

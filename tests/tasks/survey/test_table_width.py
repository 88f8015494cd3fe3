"""A table of far too many columns or bytes is refused by its outline, before a library takes time and memory for it."""

import gzip
import io
import time

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference.errors import BadInput
from tasks.survey import table_fits, table_width
from tasks.survey.array_files import open_arrays
from tasks.survey.table_file import read_table_file

COLUMNS = [f"c{number}" for number in range(11_000)]


def csv(path):
    path.write_text(f"{','.join(COLUMNS)}\n{','.join('1' for _ in COLUMNS)}\n")


def ecsv(path):
    named = "\n".join(f"# - {{name: {name}, datatype: float64}}" for name in COLUMNS)
    path.write_text(f"# %ECSV 1.0\n# ---\n# datatype:\n{named}\n{' '.join(COLUMNS)}\n")


def votable(path):
    fields = "".join(f'<FIELD name="{name}" datatype="double"/>' for name in COLUMNS)
    path.write_text(f'<VOTABLE version="1.4"><RESOURCE><TABLE>{fields}</TABLE></RESOURCE></VOTABLE>')


def parquet(path):
    pq.write_table(pa.table({name: pa.array([1.0]) for name in COLUMNS}), path)


def fits(path):
    first = [
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    0",
        "END",
    ]
    table = ["XTENSION= 'BINTABLE'", f"TFIELDS = {len(COLUMNS):20d}"]
    named = [f"{f'TTYPE{number}'[:8]:8}= '{name}'" for number, name in enumerate(COLUMNS)]
    blocks = ["".join(card.ljust(80) for card in cards) for cards in (first, [*table, *named, "END"])]
    path.write_bytes("".join(block + " " * (-len(block) % 2880) for block in blocks).encode())


def hdf5(path):
    with h5py.File(path, "w") as file:
        for name in COLUMNS[:4_001]:
            file.create_dataset(f"photometry/{name}", data=np.ones(1))


@pytest.mark.parametrize("write", [csv, ecsv, votable, parquet, fits, hdf5])
def test_too_many_columns_are_refused_in_little_time(tmp_path, write):
    write(tmp_path / "table")
    began = time.perf_counter()
    with pytest.raises(BadInput, match=r"(columns|data sets).*limit"):
        read_table_file(tmp_path / "table")
    assert time.perf_counter() - began < 10


def packed(path):
    path.write_bytes(gzip.compress(b"objid,mag_r\n" + b"1,2\n" * 500_000))


def constant(path):
    pq.write_table(pa.table({"objid": np.zeros(200_000)}), path)


def folder(path):
    path.mkdir()
    constant(path / "0.parquet")


def unwritten(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("photometry/objid", (200_000,), "f8", chunks=(1000,))


@pytest.mark.parametrize("write", [packed, constant, folder, unwritten])
def test_small_files_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch, write):
    monkeypatch.setattr(table_width, "_MUCH", 1_000_000)
    write(tmp_path / "bomb")
    with pytest.raises(BadInput, match=r"bomb.* would unfold to \d+ MB or more, as no measurements do"):
        read_table_file(tmp_path / "bomb")


def npz(path):
    np.savez_compressed(path.open("wb"), images=np.zeros((20, 5, 64, 64), np.float32), magnitudes=np.zeros((20, 5)))


def cubes(path):
    values = pa.array(np.zeros((20, 5, 64, 64), np.float32).tolist())
    pq.write_table(pa.table({"image": values}), path)


def unwritten_images(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (1000, 5, 32, 32), "f4", chunks=(1, 5, 32, 32))
        file["magnitudes"] = np.zeros((1000, 5))


@pytest.mark.parametrize("write", [npz, cubes, unwritten_images])
def test_small_files_of_images_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch, write):
    monkeypatch.setattr(table_width, "_MUCH", 1_000_000)
    write(tmp_path / "bomb")
    with pytest.raises(BadInput, match=r"bomb.* would unfold to \d+ MB or more, as no measurements do"):
        open_arrays(tmp_path / "bomb")


@pytest.mark.parametrize("packed", [False, True])
def test_text_in_one_endless_line_is_refused_before_it_is_read_whole(tmp_path, packed):
    text = b"objid,mag_r\n" + b"1" * 6_000_000
    (tmp_path / "t.csv").write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(BadInput, match=r"t.csv has a line of more than 4,000,000 bytes"):
        read_table_file(tmp_path / "t.csv")


def test_fits_of_endless_parts_is_refused(tmp_path, monkeypatch):
    from astropy.io import fits

    monkeypatch.setattr(table_fits, "_MOST_PARTS", 10)
    part = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU()]).writeto(part)
    first, further = part.getvalue()[:2880], part.getvalue()[2880:]
    (tmp_path / "many.fits").write_bytes(first + further * 20)
    with pytest.raises(BadInput, match=r"many.fits has more than 10 HDUs"):
        read_table_file(tmp_path / "many.fits")

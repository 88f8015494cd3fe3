"""A table of far too many columns is refused by its header, before a library makes an object of each."""

import time

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.survey.table_file import BadInput, read_table_file

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

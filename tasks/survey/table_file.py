"""Any table that astronomers keep, read as pandas has it: FITS, VOTable, Parquet, ECSV or CSV, told by its content.

The file may be anyone's: nothing that it refers to is fetched, and nothing small unfolds into something huge.
"""

import io
import warnings
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pandas as pd

from inference.errors import BadInput

_MOST_ROWS = 50_000_000
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}


def read_table_file(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table's columns that hold one value a row.

    Args:
        path: the file; of FITS its first table.

    Returns:
        The columns, text of FITS as bytes, and the unit of each that has one.

    Raises:
        BadInput: naming the file: it cannot be read as a table, is packed, refers to data elsewhere, has two columns of
            one name, or more than 50 million rows.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2880)
        for magic, kind in _PACKED.items():
            if start.startswith(magic):
                raise BadInput(f"{path} is packed with {kind}: unpack it first")
        if start.startswith(b"PAR1"):
            return _parquet(path), {}
        return _astropy(path, _format(path, start))
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 - each reader has errors of its own
        raise BadInput(f"cannot read {path} as a table: {first_line(error)}") from None


def numbers(values: pd.Series) -> np.ndarray:
    """A column as float64, NaN where it is masked.

    Raises:
        ValueError: it holds something that is no number.
    """
    if pd.api.types.is_bool_dtype(values.dtype):
        raise ValueError("truth values are no numbers")
    try:
        found: np.ndarray = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("no numbers") from None
    return found


def _format(path: Path, start: bytes) -> str:
    if start.startswith(b"SIMPLE  ="):
        return "fits"
    if start.startswith(b"# %ECSV "):
        return "ascii.ecsv"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") or path.suffix.lower() in {".vot", ".xml"}:
        return "votable"
    if b"\0" in start:
        raise BadInput(f"{path} is no table of FITS, VOTable, Parquet, ECSV or CSV")
    return "ascii.csv"


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > _MOST_ROWS:
            raise BadInput(f"{path} has {file.metadata.num_rows:,} rows; {_MOST_ROWS:,} is the limit")
        _refuse_twins(path, file.schema_arrow.names)
        # Without what pandas notes of an index: an index is a column like others here.
        table: pd.DataFrame = file.read().to_pandas(ignore_metadata=True)
    return table


def _astropy(path: Path, form: str) -> tuple[pd.DataFrame, dict[str, str]]:
    from astropy.table import Table

    source: Any = path
    if form == "votable":
        source = io.BytesIO(path.read_bytes())
        _refuse_references(path, source.getvalue())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a second table, of units that no standard knows
        table = Table.read(source, format=form)
    table.remove_columns([name for name in table.colnames if len(table[name].shape) > 1])
    _refuse_twins(path, table.colnames)
    units = {name: str(table[name].unit) for name in table.colnames if table[name].unit is not None}
    return table.to_pandas(), units


def _refuse_references(path: Path, data: bytes) -> None:
    """A VOTable may name a URL in place of its data, which the library would fetch, and declare entities."""

    def element(name: str, attributes: dict[str, str]) -> None:
        if any(key.rpartition(":")[2].lower() == "href" for key in attributes) and name.rpartition(":")[2] == "STREAM":
            raise BadInput(f"{path} refers to data elsewhere (STREAM href), which is not fetched")

    def declared(*_: Any) -> None:
        raise BadInput(f"{path} declares entities, which no VOTable needs")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = element, declared
    parser.Parse(data, True)


def _refuse_twins(path: Path, names: list[str]) -> None:
    twins = [name for name in names if names.count(name) > 1]
    if twins:
        raise BadInput(f"{path} has two columns called {twins[0]!r:.60}")


def first_line(error: Exception) -> str:
    """What a library's error says, in a line; where it tells of an array and too few bytes, what that means."""
    lines = str(error).splitlines() or [type(error).__name__]
    short = lines[0].startswith(("cannot reshape array", "buffer is too small"))
    return "it is cut short" if short else f"{lines[0]:.160}"

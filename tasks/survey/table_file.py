"""Any table that astronomers keep, read as pandas has it; its content says what it is, not its name.

FITS, VOTable, Parquet (a file, a folder of files, a HATS catalogue), HDF5, ECSV, and text in any of its ways, packed
with gzip or not. The file may be anyone's: nothing that it refers to is fetched, and nothing small unfolds into
something huge.
"""

import gzip
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pandas as pd

from inference.contract.validation import sanitize_text
from inference.errors import BadInput
from tasks.survey.table_text import UTF_16, read_text
from tasks.survey.table_width import MOST_COLUMNS, TooWide, check_width

_MOST_ROWS = 50_000_000
_MOST_UNPACKED = 4 << 30
_PACKED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
_GZIP = b"\x1f\x8b"
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class TableFile:
    """A table and what is known of it.

    Attributes:
        frame: columns of one value a row; a column `NAME` of a few values a row is here `NAME[0]`, `NAME[1]`, ...
        form: what the file is: "FITS", "VOTable", "Parquet", "HATS", "HDF5", "ECSV" or "text".
        units: of the columns that have one.
        part: which HDU or group of the file it is, where there could be several.
    """

    frame: pd.DataFrame
    form: str
    units: dict[str, str] = field(default_factory=dict)
    part: str = ""


def read_table_file(path: Path, part: str | None = None) -> TableFile:
    """Read a table.

    Args:
        path: the file, or the folder of a Parquet data set.
        part: the HDU (number or EXTNAME) or the group of the file; None takes the one that can be of objects.

    Raises:
        BadInput: naming the file: it cannot be read as a table, is packed with something else than gzip, refers to data
            elsewhere, has two columns of one name, several tables, more than 50 million rows or 10,000 columns.
    """
    try:
        return _read(path, part)
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 - each reader has errors of its own
        raise BadInput(f"cannot read {path} as a table: {first_line(error)}") from None


def _read(path: Path, part: str | None) -> TableFile:
    if path.is_dir():
        return _parquet_folder(path)
    with path.open("rb") as file:
        start = file.read(2880)
    source: Any = path
    if start.startswith(_GZIP):
        source = io.BytesIO(_unpacked(path))
        start = source.getvalue()[:2880]
    if start.startswith(b"PK") and b"[Content_Types].xml" in start:
        raise BadInput(f"{path} is an Excel workbook: save the sheet as CSV")
    for magic, kind in _PACKED.items():
        if start.startswith(magic):
            raise BadInput(f"{path} is packed with {kind}: unpack it first")
    if start.startswith(b"PAR1"):
        return _checked(path, _parquet(source, path))
    if start.startswith(_HDF5):
        from tasks.survey.table_hdf5 import read_hdf5

        if source is not path:
            raise BadInput(f"{path} is HDF5 packed with gzip: unpack it first")
        frame, name = read_hdf5(path, part)
        return _checked(path, TableFile(frame, "HDF5", part=name))
    if start.startswith(b"SIMPLE  ="):
        from tasks.survey.table_fits import read_fits

        for claim in re.findall(rb"TFIELDS = +(\d{1,18}) ", start + _next_header(source)):
            check_width(path, int(claim))
        frame, units, name = read_fits(source, str(path), part)
        return _checked(path, TableFile(frame, "FITS", units, name))
    data = source.getvalue() if isinstance(source, io.BytesIO) else path.read_bytes()
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") or path.suffix.lower() in {".vot", ".xml"}:
        return _checked(path, _votable(path, data, part))
    if b"\0" in start and not start.startswith(UTF_16):
        raise BadInput(f"{path} is no table of FITS, VOTable, Parquet, HDF5, ECSV or text")
    if text.startswith(b"# %ECSV "):
        check_width(path, sum(line.startswith(b"# - ") for line in takewhile(_is_comment, io.BytesIO(data))))
        return _checked(path, _ecsv(data))
    if text.startswith((b"{", b"[")):
        raise BadInput(f"{path} is JSON, which is not read as a table: save it as CSV or Parquet")
    frame, units = read_text(data, str(path), MOST_COLUMNS)
    return _checked(path, TableFile(frame, "text", units))


def _next_header(source: Any) -> bytes:
    """The beginning of a FITS file as far as the header of a table behind an empty image lies there."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[2880 : 4 * 2880]
    with Path(source).open("rb") as file:
        return file.read(4 * 2880)[2880:]


def _is_comment(line: bytes) -> bool:
    return line.startswith(b"#")


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        data = file.read(_MOST_UNPACKED + 1)
    if len(data) > _MOST_UNPACKED:
        raise BadInput(f"{path} unpacks to more than {_MOST_UNPACKED:,} bytes")
    return data


def _checked(path: Path, table: TableFile) -> TableFile:
    refuse_twins(path, map(str, table.frame.columns))
    if len(table.frame) > _MOST_ROWS:
        raise BadInput(f"{path} has {len(table.frame):,} rows; {_MOST_ROWS:,} is the limit")
    shown = {name: sanitize_text(name) for name in table.frame.columns}  # messages name columns
    refuse_twins(path, shown.values())
    units = {sanitize_text(name): unit for name, unit in table.units.items()}
    return replace(table, frame=table.frame.rename(columns=shown), units=units)


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


def as_text(value: Any) -> str:
    """A cell as text: whole numbers without a decimal point, bytes decoded, "" where it is missing."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or value is pd.NA or value != value else str(value).strip()


def _parquet(source: Any, path: Path) -> TableFile:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        check_width(path, file.metadata.num_columns)
        if file.metadata.num_rows > _MOST_ROWS:
            raise BadInput(f"{path} has {file.metadata.num_rows:,} rows; {_MOST_ROWS:,} is the limit")
        refuse_twins(path, file.schema_arrow.names)
        return TableFile(_frame(file.read(columns=_flat_columns(file.schema_arrow))), "Parquet")


def _parquet_folder(path: Path) -> TableFile:
    """A folder of Parquet files, as a HATS catalogue has its pixels in; what its folders' names say is left out."""
    import pyarrow.dataset as ds

    files = sorted(
        str(file) for file in path.rglob("*.parquet") if not any(part.startswith(("_", ".")) for part in file.parts)
    )
    root = path / "dataset"
    pixels = [file for file in files if Path(file).is_relative_to(root)] if root.is_dir() else files
    if not pixels:
        raise BadInput(f"{path} is a folder without Parquet files")
    found = ds.dataset(pixels, format="parquet")
    if found.count_rows() > _MOST_ROWS:
        raise BadInput(f"{path} has more than {_MOST_ROWS:,} rows")
    refuse_twins(path, found.schema.names)
    is_hats = any((path / name).exists() for name in ("hats.properties", "properties", "catalog_info.json"))
    return TableFile(_frame(found.to_table(columns=_flat_columns(found.schema))), "HATS" if is_hats else "Parquet")


def _flat_columns(schema: Any) -> list[str]:
    """Columns that a table can have: single values, and lists of fixed length."""
    import pyarrow as pa

    nested = (pa.types.is_list, pa.types.is_large_list, pa.types.is_struct, pa.types.is_map)
    return [each.name for each in schema if not any(is_kind(each.type) for is_kind in nested)]


def _frame(table: Any) -> pd.DataFrame:
    """As pandas has it; whole numbers stay whole where some are missing."""
    import pyarrow as pa

    for name in table.column_names:
        kind = table.schema.field(name).type
        if pa.types.is_fixed_size_list(kind):
            values = table[name].combine_chunks()
            table = table.drop_columns([name])
            if 1 < kind.list_size <= 16 and not values.null_count:
                flat = values.flatten()
                for place in range(kind.list_size):
                    table = table.append_column(f"{name}[{place}]", flat[place :: kind.list_size])
    # Without what pandas notes of an index: an index is a column like others here.
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    return frame


def _ecsv(data: bytes) -> TableFile:
    from astropy.table import Table

    from tasks.survey.table_fits import from_astropy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Table.read(data.decode("utf-8-sig"), format="ascii.ecsv")
    frame, units = from_astropy(table)
    return TableFile(frame, "ECSV", units)


def _votable(path: Path, data: bytes, part: str | None) -> TableFile:
    from astropy.io.votable import parse

    from tasks.survey.columns import knows_columns
    from tasks.survey.table_fits import from_astropy

    _refuse_references(path, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tables = list(enumerate(parse(io.BytesIO(data)).iter_tables()))
        names = ", ".join(f"{number} {table.name or table.ID or ''}".strip() for number, table in tables)[:200]
        if part is not None:
            tables = [pair for pair in tables if part in {str(pair[0]), pair[1].name, pair[1].ID}]
        elif len(tables) > 1:
            tables = [pair for pair in tables if knows_columns(f.name or f.ID for f in pair[1].fields)] or tables
        if len(tables) != 1:
            raise BadInput(f"{path} holds {len(tables)} such tables (it has {names or 'none'}): choose one with --hdu")
        frame, units = from_astropy(tables[0][1].to_table(use_names_over_ids=True))
    return TableFile(frame, "VOTable", units, str(tables[0][0]))


def _refuse_references(path: Path, data: bytes) -> None:
    """A VOTable may name a URL in place of its data, which the library would fetch, and declare entities."""
    fields = 0

    def element(name: str, attributes: dict[str, str]) -> None:
        nonlocal fields
        fields += name.rpartition(":")[2] == "FIELD"
        if fields > MOST_COLUMNS:
            raise TooWide(f"{path} has more than {MOST_COLUMNS:,} columns, which is the limit")
        if any(key.rpartition(":")[2].lower() == "href" for key in attributes) and name.rpartition(":")[2] == "STREAM":
            raise BadInput(f"{path} refers to data elsewhere (STREAM href), which is not fetched")

    def declared(*_: Any) -> None:
        raise BadInput(f"{path} declares entities, which no VOTable needs")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = element, declared
    parser.Parse(data, True)


def refuse_twins(path: Path, names: Iterable[str]) -> None:
    """Refuse two columns of one name, and more columns than any table has.

    Raises:
        BadInput: naming the file.
    """
    counts = Counter(names)
    check_width(path, counts.total())
    twins = [name for name, count in counts.items() if count > 1]
    if twins:
        raise BadInput(f"{path} has two columns called {twins[0]!r:.60}")


def first_line(error: Exception) -> str:
    """What a library's error says, in a line; where it tells of an array and too few bytes, what that means."""
    lines = str(error).splitlines() or [type(error).__name__]
    short = lines[0].startswith(("cannot reshape array", "buffer is too small"))
    return "it is cut short" if short else sanitize_text(lines[0])[:160]

"""Any table that astronomers keep, read as pandas has it; its content says what it is, not its name.

FITS, VOTable, Parquet (a file, a folder of files, a HATS catalogue), Feather, HDF5, records of numpy, ECSV, IPAC, MRT,
SExtractor's, and text in any of its ways, packed with gzip or not. The file may be anyone's: nothing that it refers to
is fetched, and nothing small unfolds into something huge.
"""

import gzip
import io
import re
import warnings
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pandas as pd

from inference.contract.validation import sanitize_text
from inference.errors import BadInput
from tasks.survey.damaged_file import damaged_file, refuse_what_is_no_file, refuse_workbook
from tasks.survey.table_arrow import ARROW_STREAM, read_arrow_stream, read_feather, read_parquet, read_parquet_folder
from tasks.survey.table_described import described_columns, described_form, read_described, refuse_document
from tasks.survey.table_numpy import read_npy_table
from tasks.survey.table_text import check_lines, read_text
from tasks.survey.table_width import MOST_COLUMNS, TooWide, check_length, check_unfolded, check_width, refuse_twins

_MOST_UNPACKED = 4 << 30
_OTHERS = {
    b"SQLite format 3": "is a SQLite database: save its table as CSV or Parquet",
    b"\x80": "is a pickle, which may run anything and is not read: save its table as CSV, Parquet or FITS",
}
_PACKED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
_GZIP = b"\x1f\x8b"
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class TableFile:
    """A table and what is known of it.

    Attributes:
        frame: columns of one value a row; a column `NAME` of a few values a row is here `NAME[0]`, `NAME[1]`, ...
        form: what the file is: "FITS", "VOTable", "Parquet", "HATS", "HDF5", "ECSV", "IPAC", "text", ...
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
    refuse_what_is_no_file(path)
    try:
        return _read(path, part)
    except BadInput:
        raise
    except Exception as error:  # noqa: BLE001 - each reader has errors of its own
        raise damaged_file(path, error, " as a table") from None


def _read(path: Path, part: str | None) -> TableFile:
    if path.is_dir():
        return _checked(path, TableFile(*read_parquet_folder(path)))
    with path.open("rb") as file:
        start = file.read(2880)
    source: Any = path
    if start.startswith(_GZIP):
        source = io.BytesIO(_unpacked(path))
        start = source.getvalue()[:2880]
    refuse_workbook(path, start)
    for magic, kind in _PACKED.items():
        if start.startswith(magic):
            raise BadInput(f"{path} is packed with {kind}: unpack it first")
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise BadInput(f"{path} {what}")
    if start.startswith(b"PAR1"):
        return _checked(path, TableFile(read_parquet(source, path), "Parquet"))
    if start.startswith((b"ARROW1", b"FEA1")):
        return _checked(path, TableFile(read_feather(source), "Feather"))
    if start.startswith(ARROW_STREAM):
        return _checked(path, TableFile(read_arrow_stream(source), "Arrow"))
    if start.startswith(b"\x93NUMPY"):
        return _checked(path, TableFile(read_npy_table(source, path), "numpy records"))
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
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_xml = text.startswith(b"<") or path.suffix.lower() in {".vot", ".xml"}
    with source if isinstance(source, io.BytesIO) else path.open("rb") as file:
        check_lines(path, file, may_be_long=is_xml)
        file.seek(0)
        data = file.read()
    refuse_document(path, text)
    if is_xml:
        return _checked(path, _votable(path, data, part))
    if text.startswith(b"# %ECSV "):
        check_width(path, sum(line.startswith(b"# - ") for line in takewhile(_is_comment, io.BytesIO(data))))
        return _checked(path, _ecsv(data))
    if text.startswith((b"{", b"[")):
        raise BadInput(f"{path} is JSON, which is not read as a table: save it as CSV or Parquet")
    if form := described_form(data):
        check_width(path, described_columns(data, form))
        return _checked(path, TableFile(*read_described(data, form)))
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
    parts, size, packed = list[bytes](), 0, path.stat().st_size
    with gzip.open(path) as file:
        while part := file.read(1 << 24):
            parts.append(part)
            size += len(part)
            check_unfolded(path, size, packed)
            if size > _MOST_UNPACKED:
                raise BadInput(f"{path} unpacks to more than {_MOST_UNPACKED:,} bytes")
    return b"".join(parts)


def _checked(path: Path, table: TableFile) -> TableFile:
    refuse_twins(path, map(str, table.frame.columns))
    check_length(path, len(table.frame))
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
        kind = name.rpartition(":")[2]
        fields += kind == "FIELD"
        if fields > MOST_COLUMNS:
            raise TooWide(f"{path} has more than {MOST_COLUMNS:,} columns, which is the limit")
        if any(key.rpartition(":")[2].lower() == "href" for key in attributes) and kind == "STREAM":
            raise BadInput(f"{path} refers to data elsewhere (STREAM href), which is not fetched")

    def ended(name: str) -> None:
        if name.rpartition(":")[2] == "FITS":
            raise BadInput(
                f"{path} is a VOTable that holds its rows as FITS, which is not read: save it in another form, as"
                " stilts tcopy ofmt=votable does"
            )

    def declared(*_: Any) -> None:
        raise BadInput(f"{path} declares entities, which no VOTable needs")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.EntityDeclHandler = element, ended, declared
    parser.Parse(data, True)

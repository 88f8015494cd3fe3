"""Catalogues as files: Parquet, FITS, VOTable and CSV, with units, UCDs and provenance where each keeps them.

FITS: a binary table whose columns carry TUNIT, TUCD and TCOMM, as TOPCAT reads them, and a second table of the
partitions. VOTable: UCDs and descriptions of the fields, provenance
and partitions as PARAM. CSV: ECSV, whose header is a comment.
Parquet: the file's key-value metadata under `cosmic`, and each column's own.
"""

import dataclasses
import io
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inference.engines.columns import OUT_OF_DOMAIN
from inference.errors import BadInput
from tasks.reporting.formatting import spreadsheet_text
from tasks.run_results.catalogue import Catalogue
from tasks.run_results.catalogue_fields import PARTITION_FIELDS, Field, about

_KEYWORDS = {  # FITS has eight characters
    "creator": "CREATOR",
    "created": "DATE",
    "run_id": "RUNID",
    "result_path": "RESULT",
    "model": "MODEL",
    "model_sha256": "MODELSHA",
    "engine": "ENGINE",
    "precision": "PRECISN",
    "calibration": "CALIB",
    "calibration_sha256": "CALIBSHA",
    "data": "DATAPATH",
    "data_etag": "DATAETAG",
    "missing_ranks": "NMISSING",
    "outlier_limit": "OUTLIM",
}
_FLAGS = ("outlier", OUT_OF_DOMAIN)
_UNKNOWN = -1  # a flag's null in FITS


def catalogue_bytes(catalogue: Catalogue, form: str) -> bytes:
    """The catalogue as a file of one of FORMATS.

    Raises:
        BadInput: a text cannot be written in this format, or there is no such format.
    """
    if form not in FORMATS:
        raise BadInput(f"the format of a catalogue is one of {', '.join(FORMATS)}, not {form!r:.40}")
    return FORMATS[form](catalogue)


def parquet_table(catalogue: Catalogue) -> pa.Table:
    """The catalogue as an Arrow table, with units, UCDs and provenance in its metadata."""
    rows = catalogue.rows
    table = pa.Table.from_pandas(rows, preserve_index=False)
    fields = [
        field.with_metadata({"description": what.description, "ucd": what.ucd, "unit": what.unit})
        for field in table.schema
        for what in [about(field.name)]
    ]
    return pa.table(table.columns, schema=pa.schema(fields, metadata=file_metadata(catalogue)))


def file_metadata(catalogue: Catalogue) -> dict[str, str]:
    """A Parquet file's own metadata: provenance and partitions as JSON."""
    facts = catalogue.provenance | {"partitions": catalogue.partitions.to_dict("records")}
    return {"cosmic": json.dumps(facts)}


def _parquet(catalogue: Catalogue) -> bytes:
    file = io.BytesIO()
    pq.write_table(parquet_table(catalogue), file, compression="zstd")
    return file.getvalue()


def _fits(catalogue: Catalogue) -> bytes:
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    tables = [
        _fits_table(_table(catalogue), about, "REDSHIFTS"),
        _fits_table(_partitions(catalogue), PARTITION_FIELDS.__getitem__, "PARTITIONS"),
    ]
    for name, value in catalogue.provenance.items():
        if value is not None:
            card = _ascii(value, name) if isinstance(value, str) else value
            card = _fits_date(card) if name == "created" else card
            for hdu in (primary, tables[0]):
                hdu.header[_KEYWORDS[name]] = card
    file = io.BytesIO()
    # No checksum of FITS's own: it has the time of writing in its comment, and the same run shall give the same file.
    fits.HDUList([primary, *tables]).writeto(file)
    return file.getvalue()


def _fits_table(table: Any, about_column: Callable[[str], Field], name: str) -> Any:
    from astropy.io import fits

    for column in table.colnames:
        if table[column].dtype.kind == "U":
            for text in table[column]:
                _keeps_blanks("FITS", _ascii(str(text), column), column, str(text).rstrip(" "))
    hdu = fits.table_to_hdu(table)
    hdu.name = name
    for number, column in enumerate(table.colnames, start=1):
        what = about_column(column)
        hdu.header.set(f"TCOMM{number}", what.description, after=f"TFORM{number}")
        hdu.header.set(f"TUCD{number}", what.ucd, after=f"TCOMM{number}")
    return hdu


def _ascii(text: str, name: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise BadInput(
            f"FITS holds ASCII only, and one of {name} is {text!r:.80}: choose --format parquet, votable, ecsv or csv"
        )
    return text


def _keeps_blanks(form: str, text: str, name: str, read: str) -> None:
    """Refuse a text that would be read back without the blanks at its ends."""
    if text != read:
        raise BadInput(
            f"{form} loses blanks at the end of a text, and one of {name} is {text!r:.80}: choose --format parquet,"
            " votable or csv"
        )


def _fits_date(text: str) -> str:
    """A date as FITS writes it: UTC, without an offset."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None).isoformat(timespec="seconds")
    except ValueError:
        return text


def _votable(catalogue: Catalogue) -> bytes:
    from astropy.io.votable import tree

    for name in _TEXTS:
        beyond = catalogue.rows[name].str.contains("[\U00010000-\U0010ffff]", regex=True)
        if beyond.any():  # a VOTable's characters are UCS-2; the library would cut such texts short
            text = catalogue.rows.loc[beyond, name].iloc[0]
            raise BadInput(
                f"VOTable holds characters of 16 bits, and one of {name} is {text!r:.80}: choose --format parquet,"
                " ecsv or csv"
            )
    file = tree.VOTableFile(version="1.4")
    resource = tree.Resource(name="redshifts")
    file.resources.append(resource)
    element = tree.TableElement.from_table(file, _table(catalogue))
    element.name = element.ID = "redshifts"
    for field in element.fields:
        field.ucd, field.description = about(field.name).ucd, about(field.name).description
    element.format = "binary2"
    resource.tables.append(element)
    listing = json.dumps(catalogue.partitions.to_dict("records"))  # a second table would have to be chosen from
    for name, value in (catalogue.provenance | {"partitions": listing}).items():
        if value is None:
            continue
        kind = {"str": "char", "int": "int"}.get(type(value).__name__, "double")
        text = str(value)
        kind = "unicodeChar" if not text.isascii() else kind
        size = {"arraysize": "*"} if isinstance(value, str) else {}
        resource.params.append(tree.Param(file, name=name, datatype=kind, value=_xml(text), **size))
    out = io.BytesIO()
    file.to_xml(out)
    # The library notes the time of writing; the same run shall give the same file.
    return re.sub(rb"<!-- Produced with astropy.io.votable.*?-->\n?", b"", out.getvalue(), flags=re.DOTALL)


def _xml(text: str) -> str:
    """Without what XML cannot hold."""
    return re.sub(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


_TEXTS = ("object_id", "partition")


def _csv(catalogue: Catalogue) -> bytes:
    """Plain CSV: a line of names, then numbers with all their digits; what is unknown is empty, a flag is 1 or 0."""
    short = catalogue.rows.select_dtypes("float32").columns  # read back as doubles, which must be the same numbers
    kinds: dict[Any, Any] = dict.fromkeys(short, float) | {name: "Int16" for name in _FLAGS if name in catalogue.rows}
    rows = _inert(catalogue).rows.astype(kinds)
    return rows.to_csv(index=False, lineterminator="\n").encode()


def csv_header(catalogue: Catalogue) -> bytes:
    """What a CSV file cannot say of itself, as JSON: provenance, partitions, and what each column is."""
    columns = {str(name): about(name)._asdict() for name in catalogue.rows.columns}
    partitions = catalogue.partitions.to_dict("records")
    document = {"columns": columns, "provenance": catalogue.provenance, "partitions": partitions}
    return (json.dumps(document, indent=1) + "\n").encode()


def _inert(catalogue: Catalogue) -> Catalogue:
    """With texts that a spreadsheet takes for no formula."""
    texts = {name: catalogue.rows[name].map(spreadsheet_text) for name in _TEXTS if name in catalogue.rows}
    return dataclasses.replace(catalogue, rows=catalogue.rows.assign(**texts))


def _ecsv(catalogue: Catalogue) -> bytes:
    table = _table(_inert(catalogue))
    for name in _TEXTS:
        for text in catalogue.rows[name]:
            _keeps_blanks("ECSV", str(text), name, str(text).strip(" \t"))
    for name in table.colnames:
        table[name].meta["ucd"] = about(name).ucd
    table.meta = {name: value for name, value in catalogue.provenance.items() if value is not None}
    table.meta["partitions"] = catalogue.partitions.to_dict("records")
    out = io.StringIO()
    table.write(out, format="ascii.ecsv", delimiter=",")
    start = re.search(r"^[^#]", out.getvalue(), flags=re.MULTILINE)
    assert start is not None  # noqa: S101 (the line of names follows the comment)
    header, rows = out.getvalue()[: start.start()], out.getvalue()[start.start() :]
    # A row whose id begins with # would be read as a comment.
    return (header + re.sub(r"^(#[^,]*),", r'"\1",', rows, flags=re.MULTILINE)).encode()


def _table(catalogue: Catalogue) -> Any:
    """As astropy's table, units and descriptions on its columns."""
    from astropy.table import Column, MaskedColumn, Table

    table = Table()
    for name, values in catalogue.rows.items():
        facts = {"name": name, "description": about(name).description, "unit": about(name).unit or None}
        if name in _FLAGS:
            flags = values.astype("Int16").fillna(_UNKNOWN).to_numpy(np.int16)
            table[name] = MaskedColumn(flags, mask=flags == _UNKNOWN, fill_value=_UNKNOWN, **facts)
        elif name in _TEXTS:
            table[name] = Column(values.to_numpy(dtype=str), **facts)
        else:
            table[name] = Column(values.to_numpy(), **facts)
    return table


def _partitions(catalogue: Catalogue) -> Any:
    from astropy.table import Table

    rows = catalogue.partitions
    return Table(
        {"key": rows["key"].to_numpy(str), "etag": rows["etag"].to_numpy(str), "rows": rows["rows"].to_numpy()}
    )


FORMATS: dict[str, Callable[[Catalogue], bytes]] = {
    "parquet": _parquet,
    "fits": _fits,
    "votable": _votable,
    "ecsv": _ecsv,
    "csv": _csv,
}
SUFFIXES = {"parquet": ".parquet", "fits": ".fits", "votable": ".vot", "ecsv": ".ecsv", "csv": ".csv"}

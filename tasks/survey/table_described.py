"""Tables in text that say of each column what it is: IPAC, machine-readable tables (MRT, CDS) and SExtractor's.

Documents for people, which hold a table somewhere, are refused with what to do.
"""

import re
import warnings
from pathlib import Path

import pandas as pd

from inference.errors import BadInput

_HEAD = 1 << 16  # bytes in which a file says what it is
_READERS = {"IPAC": "ascii.ipac", "MRT": "ascii.mrt", "SExtractor": "ascii.sextractor"}
_DOCUMENTS = {
    "HTML": re.compile(rb"<!doctype html|<html|<table[\s>](?![^>]*ID=)", re.IGNORECASE),
    "LaTeX": re.compile(rb"\\(?:begin\{|documentclass)"),
    "reStructuredText": re.compile(rb"={2,}(?: +={2,})+\s*$", re.MULTILINE),
}


def refuse_document(path: Path, start: bytes) -> None:
    """Refuse a table that is set for people to read.

    Raises:
        BadInput: naming what it is, and what to do.
    """
    first = start.lstrip()[:200]
    for kind, pattern in _DOCUMENTS.items():
        if pattern.match(first):
            raise BadInput(f"{path} is {kind}, which is set for people to read: save the table as CSV, VOTable or FITS")


def described_form(data: bytes) -> str | None:
    """Which of the three forms it is: "IPAC", "MRT" or "SExtractor"; None for others."""
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    if b"Byte-by-byte Description of file" in head:
        return "MRT"
    if re.match(rb"#\s*1\s+[A-Za-z]\w*", head):
        return "SExtractor"
    lines = [line for line in head.splitlines() if line.strip() and not line.startswith(b"\\")]
    headed = bool(lines) and lines[0].startswith(b"|")
    # Rows of IPAC have no bars; those of a table with bars all around have.
    rows = [line for line in lines if not line.startswith(b"|")]
    return "IPAC" if headed and (rows or head.startswith(b"\\")) and not _is_rule(rows) else None


def _is_rule(lines: list[bytes]) -> bool:
    return bool(lines) and set(lines[0]) <= set(b"+-=|: ")


def described_columns(data: bytes, form: str) -> int:
    """How many columns such a table has at most, counted before the library makes an object of each."""
    if form == "IPAC":
        return next((line.count(b"|") for line in data.splitlines() if line.startswith(b"|")), 0)
    if form == "SExtractor":
        return len(re.findall(rb"^#\s*\d+\s", data, re.MULTILINE))
    return len(re.findall(rb"^\s*(?:\d+\s*-)?\s*\d+\s+[AEFI]\d", data[: data.rfind(b"\n---")], re.MULTILINE))


def read_described(data: bytes, form: str) -> tuple[pd.DataFrame, str, dict[str, str]]:
    """Read such a table.

    Returns:
        Its columns, the form, and the units of the columns that have one.
    """
    from astropy.io.ascii import convert_numpy
    from astropy.table import Table

    from tasks.survey.table_fits import from_astropy  # with astropy, which takes half a second

    # SExtractor's cells stay text, as those of other text do; the other two say which columns are text.
    options = {"converters": {"*": [convert_numpy(str)]}} if form == "SExtractor" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Table.read(data.decode("utf-8-sig", "replace").splitlines(), format=_READERS[form], **options)
    frame, units = from_astropy(table)
    return frame, form, units

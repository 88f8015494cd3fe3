"""Tables in text, as surveys' sites and tools write them: CSV, TSV, columns in blanks, with comments before them.

Every cell stays text: a column becomes numbers where it is used as numbers (`tasks.survey.table_file.numbers`), so an
object id keeps its zeros, its `e05` and all its digits.
"""

import csv
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd

from inference.errors import BadInput
from tasks.survey.columns import knows_columns

_DELIMITERS = ",\t;|"
_MISSING = ["", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null", "None", "none", "masked", "-", "--", "..."]
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how text of spreadsheets may begin
_DECIMAL_COMMA = r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?"
_COUNT = re.compile(r"\(\d+ rows?\)$")
_RDB_TYPE = re.compile(r"\d*[NSM]")  # what the second line of RDB, /rdb and of USGS's files says of a column
_HEAD = 1 << 20  # bytes among which the header's lines are looked for
_LONGEST_LINE = 4_000_000  # bytes; 10,000 columns take a tenth


@dataclass(frozen=True)
class _Layout:
    names: list[str]
    units: dict[str, str]
    delimiter: str | None  # None: blanks
    skipped: int  # lines before the first row


def check_lines(path: Path, file: IO[bytes], *, may_be_long: bool) -> None:
    """Look through a text before it is read whole, a part at a time.

    Args:
        path: names it in messages.
        file: at its start.
        may_be_long: it may stand in one line, as XML does.

    Raises:
        BadInput: it is no text, or has a line that no table has.
    """
    line, is_utf_16 = 0, None
    while part := file.read(_HEAD):
        is_utf_16 = part.startswith(UTF_16) if is_utf_16 is None else is_utf_16
        if b"\0" in part and not is_utf_16:
            raise BadInput(f"{path} is no table of FITS, VOTable, Parquet, Feather, HDF5, ECSV, numpy or text")
        ended = max(part.rfind(b"\n"), part.rfind(b"\r"))
        line = len(part) - ended - 1 + (line if ended < 0 else 0)
        if line > _LONGEST_LINE and not may_be_long:
            raise BadInput(f"{path} has a line of more than {_LONGEST_LINE:,} bytes, as no table in text has")


def read_text(data: bytes, name: str, most_columns: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a table in text.

    Args:
        data: the file's content, in UTF-8 or Latin-1, with or without a byte-order mark.
        name: how messages call the file.
        most_columns: more are refused.

    Returns:
        Its columns as text, missing where the cell is empty or says so, and the units that it states.

    Raises:
        BadInput: naming the file: it has no header, too many columns, or rows of more cells than the header.
    """
    text = _without_frame(_decoded(data))
    layout = _layout(text[:_HEAD].splitlines(), name)
    if len(layout.names) > most_columns:
        raise BadInput(f"{name} has {len(layout.names):,} columns; {most_columns:,} is the limit")
    options: dict[str, Any] = {"sep": layout.delimiter, "skipinitialspace": True}
    if layout.delimiter is None:
        options = {"sep": r"\s+"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table: pd.DataFrame = pd.read_csv(
                io.StringIO(text),
                header=None,
                names=range(len(layout.names)),
                index_col=False,
                skiprows=layout.skipped,
                dtype=str,
                keep_default_na=False,
                na_values=_MISSING,
                comment="#" if layout.delimiter is None else None,
                skip_blank_lines=True,
                **options,
            )
    except pd.errors.ParserWarning:
        raise BadInput(f"{name} has rows of more cells than its header, which names {len(layout.names)}") from None
    except pd.errors.ParserError as error:
        counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if counts is None:
            raise
        raise BadInput(
            f"{name} is no table that is known: its line {counts[2]} has {counts[3]} cells where {counts[1]} are"
            " expected; save it as CSV, VOTable or FITS, as stilts tcopy does"
        ) from None
    table.columns = pd.Index(layout.names)
    if layout.delimiter == "|":
        table = table.apply(lambda cells: cells.str.strip())
    if layout.delimiter not in {",", None}:
        _mend_decimal_commas(table)
    if len(table) and _COUNT.match(str(table.iloc[-1, 0])):  # `(12 rows)`, with which psql ends
        table = table.iloc[:-1]
    return table, layout.units


def _decoded(data: bytes) -> str:
    if data.startswith(UTF_16):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _without_frame(text: str) -> str:
    """A table with bars all around, as MySQL, Markdown and STILTS draw it, without its outer bars and its rules."""
    lines = text[:_HEAD].splitlines()
    drawn = [line.strip() for line in lines if line.strip() and not line.startswith("#")][:20]
    if not drawn or not all(line[0] in "|+" and line[-1] in "|+" for line in drawn if not line.endswith(" rows)")):
        return text
    rows = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    return "\n".join(line[1:-1] for line in rows if not set(line) <= set("|-:+= "))


def _mend_decimal_commas(table: pd.DataFrame) -> None:
    """Numbers as `20,92`, which spreadsheets write between semicolons, with a decimal point."""
    for place in range(table.shape[1]):
        known = table.iloc[:, place].dropna()
        if len(known) and "," in known.iloc[0] and known.str.fullmatch(_DECIMAL_COMMA).all():
            table.isetitem(place, table.iloc[:, place].str.replace(",", ".").to_numpy())


def _layout(lines: list[str], name: str) -> _Layout:
    """What the first lines say: the delimiter, the columns, their units, and where the rows begin."""
    at = 0
    while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
        at += 1
    if at == len(lines):
        raise BadInput(f"{name} has no rows and no header")
    delimiter = max(_DELIMITERS, key=lines[at].count)
    delimiter_or_blanks = delimiter if delimiter in lines[at] else None
    cells = _cells(lines[at], delimiter_or_blanks)
    comment = lines[at - 1].lstrip("# ") if at and lines[at - 1].lstrip().startswith("#") else ""
    named = _cells(comment, delimiter_or_blanks)
    if len(named) == len(cells) and any(map(_is_number, cells)) and not any(map(_is_number, named)):
        return _Layout(named, {}, delimiter_or_blanks, at)  # `# id z_spec z_phot`, as EAZY and SExtractor-like tools do
    if sum(map(_is_number, cells)) > len(cells) / 2 and not knows_columns(cells):
        raise BadInput(f"{name} begins with a row of values, {lines[at].strip()!r:.60}: put a line of names before it")
    rows = at + 1
    if at + 1 < len(lines) and all(map(_RDB_TYPE.fullmatch, _cells(lines[at + 1], delimiter_or_blanks))):
        rows = at + 2
    units: dict[str, str] = {}
    for further in range(at + 1, min(at + 4, len(lines))):  # VizieR: names, units, dashes
        if set("".join(_cells(lines[further], delimiter_or_blanks))) <= {"-", "+"} and any(cells):
            rows = further + 1
            if further == at + 2:
                stated = zip(cells, _cells(lines[at + 1], delimiter_or_blanks), strict=False)
                units = {column: unit for column, unit in stated if unit}
            break
    return _Layout(cells, units, delimiter_or_blanks, rows)


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return next(csv.reader([" ".join(line.split())], delimiter=" "), [])
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

"""Which HDU of a FITS file is the table of objects, and its columns."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from inference.errors import BadInput
from tasks.survey.columns import knows_columns
from tasks.survey.table_width import TooWide

if TYPE_CHECKING:
    from astropy.table import Table

_MOST_PARTS = 5_000
LONGEST_VECTOR = 16  # values a row of a column that becomes several; longer ones, as spectra, are left out
_HEADERS = {"LDAC_IMHEAD"}  # tables of FITS_LDAC that hold an image's header


def read_fits(source: Any, name: str, part: str | None) -> tuple[pd.DataFrame, dict[str, str], str]:
    """Read a table of a FITS file.

    Args:
        source: a path or a file.
        name: how messages call it.
        part: number or EXTNAME of the HDU; None looks for the one with columns that are known.

    Returns:
        The columns, the units of those that have one, and the HDU's name.

    Raises:
        BadInput: there is no such HDU, no table, or several candidates, which the message names.
    """
    from astropy.io import fits
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that bend the standard, of units that no standard knows
        with fits.open(source, memmap=True) as file:
            tables = [
                (number, hdu)
                for number, hdu in enumerate(parts_of(file, name))
                if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not isinstance(hdu, fits.CompImageHDU)
            ]
            number, hdu = _chosen(tables, name, part)
            if len(hdu.data) == 1 and _is_turned(hdu.columns):
                raise BadInput(
                    f"{name} holds a whole column in each cell of one row (colfits): turn it with stilts tcopy"
                    " ofmt=fits-basic"
                )
            table = Table.read(file, hdu=number)
            frame, units = from_astropy(table)
            return frame, units, hdu.name or str(number)


def parts_of(file: Any, name: str) -> Iterator[Any]:
    """The HDUs of a FITS file.

    Raises:
        BadInput: naming it: there are more than any catalogue has; each takes the library a sixth of a millisecond.
    """
    for number, hdu in enumerate(file):
        if number >= _MOST_PARTS:
            raise TooWide(f"{name} has more than {_MOST_PARTS:,} HDUs, which is the limit: save the table alone")
        yield hdu


def _is_turned(columns: Any) -> bool:
    """Whether the last axis of every column is the number of objects, as STILTS's column-oriented FITS has it."""
    lengths = {str(column.dim or column.format).strip("()").rpartition(",")[2] for column in columns}
    return len(columns) > 1 and len(lengths) == 1 and all(column.dim for column in columns)


def _chosen(tables: list[tuple[int, Any]], name: str, part: str | None) -> tuple[int, Any]:
    listed = ", ".join(f"{number} {hdu.name}".strip() for number, hdu in tables)
    if part is not None:
        found = [pair for pair in tables if part.upper() in {str(pair[0]), pair[1].name.upper()}]
        if len(found) != 1:
            raise BadInput(f"{name} has no table HDU {part!r:.40} (--hdu); it has {listed or 'none'}")
        return found[0]
    if not tables:
        raise BadInput(f"{name} holds no table, only images")
    candidates = [pair for pair in tables if pair[1].name.upper() not in _HEADERS] or tables
    if len(candidates) > 1:
        candidates = [pair for pair in candidates if knows_columns(pair[1].columns.names)] or candidates
    if len(candidates) > 1:
        raise BadInput(f"{name} holds {len(candidates)} tables ({listed}): choose one with --hdu")
    return candidates[0]


def from_astropy(table: "Table") -> tuple[pd.DataFrame, dict[str, str]]:
    """A table of astropy as pandas has it, and units; `NAME` of a few values a row becomes `NAME[0]`, `NAME[1]`, ..."""
    for column in list(table.colnames):
        shape = table[column].shape
        if len(shape) < 2:
            continue
        if len(shape) == 2 and 1 < shape[1] <= LONGEST_VECTOR and table[column].dtype.kind in "iuf":
            for place in range(shape[1]):
                table[f"{column}[{place}]"] = table[column][:, place]
        table.remove_column(column)
    units = {name: str(table[name].unit) for name in table.colnames if getattr(table[name], "unit", None) is not None}
    return table.to_pandas(), units

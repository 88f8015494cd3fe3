"""The table of a survey's objects: ids, magnitudes, cut-outs' names; redshifts and places where known."""

import gzip
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from inference.contract.plausible import FLUX, MAGNITUDE, REDSHIFT
from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.survey.band_names import USUAL, how_many
from tasks.survey.column_families import bracketed
from tasks.survey.column_names import DEC, OBJECT_ID, RA
from tasks.survey.columns import ColumnOptions, Resolver
from tasks.survey.cutout_files import IMAGES, find_cutouts
from tasks.survey.doubts import dust_doubts, magnitude_doubts, place_doubts, redshift_doubts
from tasks.survey.table_file import TableFile, as_text, numbers, read_table_file
from tasks.survey.units import ANGLES, DEGREES, MAGNITUDES, NO_UNIT, is_unit, nanomaggies

TABLES = (
    *(".parquet", ".fits", ".fit", ".csv", ".csv.gz", ".tsv", ".ecsv", ".vot", ".xml", ".hdf5", ".h5"),
    *(".vot.gz", ".tsv.gz", ".ecsv.gz", ".fits.gz", ".fit.gz"),
    *(".feather", ".arrow", ".npy", ".ipac", ".tbl", ".mrt", ".cat"),
)
_ZERO_POINT = 22.5  # AB magnitude of one nanomaggy
# An integer of 16 digits or more that went through a double, in text.
_ROUNDED = re.compile(r"\d\.\d{5,}[eE]\+?(?:1[5-9]|2\d)$|\d{16,}\.0+$")
_SEXAGESIMAL = re.compile(r"[+-]?\d{1,3}(?::|h|d| )\s*\d{1,2}(?::|m| )\s*\d{1,2}(?:\.\d*)?s?$")
_EXACT = {8: 2**53, 4: 2**24, 2: 2**11}  # beyond it a float of so many bytes cannot hold every whole number


@dataclass(frozen=True)
class Objects:
    """A table's objects, in its order.

    Attributes:
        name: how the table is called in messages.
        ids: (N,), text.
        magnitudes: (N, bands), float64, as they are.
        redshifts: (N,), float64, NaN where unknown.
        ra, dec: (N,), degrees, NaN where unknown.
        cutouts: of each object, one path or one a band; empty where there is none.
        columns: what each of these was taken from.
        notes: what a person should know of it: what was not found, and what else could have been meant.
        bands: of the magnitudes.
    """

    name: str
    ids: np.ndarray
    magnitudes: np.ndarray
    redshifts: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    cutouts: list[tuple[Path, ...]]
    columns: dict[str, str]
    notes: list[str]
    bands: tuple[str, ...] = USUAL

    def __len__(self) -> int:
        return len(self.ids)

    def faults(self) -> Iterator[tuple[int, str]]:
        """Rows that cannot be used, and why: the later ones of a doubled id, magnitudes that are none, no cut-out."""
        first: dict[str, int] = {}
        for row, name in enumerate(self.ids):
            if not name or not name.isprintable():
                yield row, f"its object id is {name!r:.40}"
            elif first.setdefault(name, row) != row:
                yield row, f"the object id {name!r:.60} stands twice, in row {first[name] + 1} too"
            else:
                measured = MAGNITUDE.measured(self.magnitudes[row])
                if not measured.all():
                    band = int(np.argmin(measured))
                    why = MAGNITUDE.why_not(self.magnitudes[row, band])
                    yield row, f"its {self.bands[band]} magnitude {why}, object {name!r:.60}"
                elif not self.cutouts[row]:
                    yield row, f"there is no cut-out of the object {name!r:.60}"


HATS_PIXELS = "partition_info.csv"  # lists the pixels of a HATS catalogue, beside them


def find_table(folder: Path) -> Path:
    """The one table in a folder.

    Raises:
        BadInput: there is none, or more than one.
    """
    found = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(TABLES) and path.is_file()]
    found = [path for path in found if path.name != HATS_PIXELS]
    tables = [path for path in found if not path.name.lower().endswith(IMAGES) or _is_table(path)]
    if len(tables) != 1:
        held = f"{len(tables)} tables ({', '.join(path.name for path in tables[:5])})" if tables else "no table"
        raise BadInput(f"{folder} holds {held} with the magnitudes of its cut-outs: name one with --table")
    return tables[0]


def _is_table(path: Path) -> bool:
    """Whether a FITS file is a table: it has one, and no image but the bytes that TOPCAT puts in front of its own."""
    from astropy.io import fits

    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as start:
            header = start.read(2880)  # the first block tells of most cut-outs, of which there may be millions
            if not any(f"NAXIS   = {axes:20d}".encode() in header for axes in (0, 1)):
                return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path) as file:
                kinds = [type(hdu) for hdu in file]
                images = [hdu for hdu in file if hdu.is_image and hdu.header.get("NAXIS", 0) > 1]
                return any(issubclass(kind, fits.BinTableHDU | fits.TableHDU) for kind in kinds) and not images
    except Exception:  # noqa: BLE001 - whatever it is, it is no table
        return False


def read_objects(path: Path, folder: Path, options: ColumnOptions, bands: tuple[str, ...] = USUAL) -> Objects:
    """Read a table.

    Args:
        path: any table that `tasks.survey.table_file` reads.
        folder: where cut-outs lie: what the table's own column of names is relative to, or, where it has none, the
            folder in which `<id>.fits` or `<id>_u.fits`, `<id>_g.fits`, ... are looked for, at any depth.
        options: names of columns, and which table of the file.
        bands: those whose magnitudes are read.

    Raises:
        BadInput: naming table and column: unreadable, no rows, a column is missing or one of two candidates, of another
            unit, or no numbers.
    """
    table = read_table_file(path, options.hdu)
    if not len(table.frame):
        raise BadInput(f"{path} has no rows")
    reader = TableReader(str(path), table, bands)
    found = reader.resolver
    ids = object_ids(table.frame[found.required(OBJECT_ID, options.object_id)], str(path))
    magnitudes = reader.magnitudes(options.magnitudes)
    redshifts = reader.redshifts(options.redshift)
    ra, dec = (
        reader.degrees(found.optional(wanted, asked), largest)
        for wanted, asked, largest in ((RA, options.ra, 360.0), (DEC, options.dec, 90.0))
    )
    found.notes += place_doubts(ra, dec)
    return Objects(
        name=str(path),
        ids=ids,
        magnitudes=magnitudes,
        redshifts=redshifts,
        ra=ra,
        dec=dec,
        cutouts=find_cutouts(table.frame, found, folder, ids.tolist()),
        columns=found.used,
        notes=found.notes,
        bands=bands,
    )


class TableReader:
    """The quantities of one table, by whatever names and in whatever units it has them."""

    def __init__(self, name: str, table: TableFile, bands: tuple[str, ...] = USUAL) -> None:
        beside = {column: bracketed(column) for column in map(str, table.frame.columns)}  # `RA [deg]`
        units = {column: unit for column, unit in beside.items() if is_unit(unit)} | table.units
        self.name, self._table = name, replace(table, units=units)
        self.resolver = Resolver(name, list(map(str, table.frame.columns)), self._same, bands=bands)

    def magnitudes(self, asked: Sequence[str] | None) -> np.ndarray:
        """AB magnitudes, (N, bands), NaN where masked; computed from fluxes where there are no magnitudes."""
        columns, unit = self.resolver.magnitudes(asked)
        if unit is None:
            redshifts = [column for column in columns if asked is None and self.holds_redshifts(column)]
            if redshifts:
                raise BadInput(
                    f"{self.name}: the column {redshifts[0]} holds redshifts, not magnitudes: name"
                    f" {how_many(self.resolver.bands)} columns with --magnitudes"
                )
            return self._doubted(columns, np.stack([self.numbers(column, MAGNITUDES) for column in columns], axis=1))
        fluxes = np.stack([self._fluxes(column, unit) for column in columns], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(FLUX.measured(fluxes), _ZERO_POINT - 2.5 * np.log10(fluxes), np.nan)
        return self._doubted(columns, found)

    def _doubted(self, columns: Sequence[str], magnitudes: np.ndarray) -> np.ndarray:
        plausible = np.where(MAGNITUDE.measured(magnitudes), magnitudes, np.nan)
        notes, bands = self.resolver.notes, self.resolver.bands
        notes += [*magnitude_doubts(columns, plausible), *dust_doubts(columns, self.resolver.names, bands)]
        return magnitudes

    def redshifts(self, asked: str | None) -> np.ndarray:
        """Spectroscopic redshifts, (N,), NaN where unknown."""
        column = self.resolver.redshift(asked, self.holds_redshifts)
        if column is None:
            return np.full(len(self._table.frame), np.nan)
        values = self.numbers(column, NO_UNIT)
        self.resolver.notes += redshift_doubts(column, values, REDSHIFT)
        return np.where(REDSHIFT.measured(values), values, np.nan)

    def degrees(self, column: str | None, largest: float) -> np.ndarray:
        """An angle, (N,), degrees, NaN where unknown.

        Raises:
            BadInput: it is of another unit, no number, or beyond `largest`.
        """
        if column is None:
            return np.full(len(self._table.frame), np.nan)
        unit = self._table.units.get(column, "").strip().lower()
        values = _sexagesimal(self._table.frame[column], largest)
        if values is None:
            values = self.numbers(column, (*DEGREES, *ANGLES)) * ANGLES.get(unit, 1.0)
        if (np.abs(values[np.isfinite(values)]) > largest).any():
            raise BadInput(f"{self.name}: the column {column} goes beyond {largest:g} degrees")
        return values % 360 if largest > 180 else values

    def numbers(self, column: str, allowed: Sequence[str]) -> np.ndarray:
        """A column's numbers, (N,), float64, NaN where masked.

        Raises:
            BadInput: it is of another unit than those allowed, or holds something that is no number.
        """
        unit = self._table.units.get(column, "").strip()
        if unit and unit.lower() not in {each.lower() for each in allowed}:
            raise BadInput(f"{self.name}: the column {column} is in {unit!r:.40}, not in {allowed[0] or 'no unit'}")
        try:
            return numbers(self._table.frame[column])
        except ValueError:
            raise BadInput(
                f"{self.name}: the column {column} holds something that is no number{self._first_text(column)}"
            ) from None

    def _first_text(self, column: str) -> str:
        """The first cell that is no number, and its row."""
        cells = self._table.frame[column]
        wrong = pd.to_numeric(cells, errors="coerce").isna() & cells.notna()
        row = int(np.argmax(wrong.to_numpy()))
        return f", {shorten(str(cells.iloc[row]), 40)} in row {row + 1}" if wrong.any() else ""

    def _fluxes(self, column: str, unit: str) -> np.ndarray:
        stated = self._table.units.get(column, "").strip()
        factor = nanomaggies(stated or unit, f"{self.name}: the column {column}")
        return factor * self.numbers(column, (stated,))

    def holds_redshifts(self, column: str) -> bool:
        """Whether a column called `z` holds redshifts and no magnitudes."""
        try:
            values = numbers(self._table.frame[column])
        except ValueError:
            return False
        known = values[REDSHIFT.measured(values)]
        # Magnitudes are above 10.
        return len(known) > 0 and float(np.median(known)) < 8 and len(known) >= 0.1 * np.isfinite(values).sum()

    def _same(self, one: str, other: str) -> bool:
        first, second = (self._table.frame[name] for name in (one, other))
        try:
            return np.array_equal(numbers(first), numbers(second), equal_nan=True)
        except ValueError:
            return first.equals(second)


def object_ids(values: pd.Series, table: str) -> np.ndarray:
    """Ids as text, (N,): whole numbers with every digit, bytes decoded, "" where missing.

    Raises:
        BadInput: they are floating-point numbers too large to be distinguished.
    """
    if pd.api.types.is_float_dtype(values.dtype):
        known = values.dropna().to_numpy(np.float64)
        limit = _EXACT.get(values.dtype.itemsize, 2**53)  # type: ignore[union-attr]
        lost = int((np.abs(known) >= limit).sum())
        if lost:
            raise BadInput(
                f"{table}: the column {values.name} has {lost:,} object ids as floating-point numbers of"
                f" {limit:,} or more, which have lost their last digits: store them as integers or text, or name"
                " another column with --id"
            )
    ids = np.array([as_text(value) for value in values], dtype=object)
    rounded = [one for one in ids if _ROUNDED.match(one)] if not pd.api.types.is_numeric_dtype(values.dtype) else []
    if rounded:
        raise BadInput(
            f"{table}: the column {values.name} has {len(rounded):,} object ids such as {shorten(rounded[0], 40)},"
            " which a spreadsheet rounded: export them as text, or name another column with --id"
        )
    return ids


def _sexagesimal(values: pd.Series, largest: float) -> np.ndarray | None:
    """Degrees from `12:34:56.7` or `12h34m56.7s`, hours where they go to 360 degrees; None where it is another form."""
    from astropy import units
    from astropy.coordinates import Angle

    cells = [] if pd.api.types.is_numeric_dtype(values.dtype) else [as_text(value) for value in values]
    known = [cell for cell in cells if cell]
    if not known or not all(_SEXAGESIMAL.match(cell) for cell in known):
        return None
    unit = units.hourangle if largest > 180 else units.deg
    found = np.full(len(cells), np.nan)
    found[[bool(cell) for cell in cells]] = Angle(known, unit=unit).deg
    return found

"""The table of a survey's objects: ids, magnitudes, cut-outs' names; redshifts and places where known."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from inference.errors import BadInput
from tasks.survey.cutouts import BANDS
from tasks.survey.table_file import numbers, read_table_file

TABLES = (".parquet", ".fits", ".fit", ".csv", ".ecsv", ".vot", ".xml")
IMAGES = (".fits", ".fit", ".fits.gz", ".fits.fz")
# What each column is called in the tables of the surveys, in lower case; the first that is there counts.
_IDS = ("object_id", "objid", "id", "source_id", "name", "specobjid")
_MAGNITUDES = ("mag_{}", "{}_mag", "dered_{}", "modelmag_{}", "cmodelmag_{}", "psfmag_{}", "{}")
_REDSHIFTS = ("z_spec", "zspec", "spec_z", "specz", "redshift")
_CUTOUTS = ("cutout", "cutout_file", "image", "file", "filename", "path")
_BAND_CUTOUTS = ("cutout_{}", "image_{}", "file_{}")
_BRIGHTEST, _FAINTEST = 0.0, 40.0  # magnitudes; beyond lie the marks for "not measured"


@dataclass(frozen=True)
class Columns:
    """Names of columns; None looks for the customary ones."""

    object_id: str | None = None
    magnitudes: Sequence[str] | None = None
    redshift: str | None = None


@dataclass(frozen=True)
class Objects:
    """A table's objects, in its order.

    Attributes:
        name: how the table is called in messages.
        ids: (N,), text.
        magnitudes: (N, 5), float64, as they are.
        redshifts: (N,), float64, NaN where unknown.
        ra, dec: (N,), degrees, NaN where unknown.
        cutouts: of each object, one path or five; empty where there is none.
        columns: what each of these was taken from.
    """

    name: str
    ids: np.ndarray
    magnitudes: np.ndarray
    redshifts: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    cutouts: list[tuple[Path, ...]]
    columns: dict[str, str]

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
                measured = np.isfinite(self.magnitudes[row])
                measured &= (self.magnitudes[row] > _BRIGHTEST) & (self.magnitudes[row] < _FAINTEST)
                if not measured.all():
                    band = int(np.argmin(measured))
                    yield row, f"its {BANDS[band]} magnitude is {self.magnitudes[row, band]:g}, object {name!r:.60}"
                elif not self.cutouts[row]:
                    yield row, f"there is no cut-out of the object {name!r:.60}"


def find_table(folder: Path) -> Path:
    """The one table in a folder.

    Raises:
        BadInput: there is none, or more than one.
    """
    found = [path for path in sorted(folder.iterdir()) if path.suffix in TABLES and path.is_file()]
    tables = [path for path in found if path.suffix not in IMAGES or _is_table(path)]
    if len(tables) != 1:
        told = f"{len(tables)} tables ({', '.join(path.name for path in tables[:5])})" if tables else "no table"
        raise BadInput(f"{folder} holds {told} with the magnitudes of its cut-outs: name one with --table")
    return tables[0]


def _is_table(path: Path) -> bool:
    """Whether a FITS file begins with a table; a cut-out begins with an image, or is an extension of one."""
    from astropy.io import fits

    try:
        with path.open("rb") as start:
            if f"NAXIS   = {0:20d}".encode() not in start.read(
                2880
            ):  # told from its first block: there may be millions
                return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path) as file:
                return len(file) > 1 and file[0].header.get("NAXIS") == 0 and isinstance(file[1], fits.BinTableHDU)
    except Exception:  # noqa: BLE001 - whatever it is, it is no table
        return False


def read_objects(path: Path, folder: Path, columns: Columns) -> Objects:
    """Read a table.

    Args:
        path: .parquet, .fits, .csv, .ecsv or .vot.
        folder: where cut-outs lie: what the table's own column of names is relative to, or, where it has none, the
            folder in which `<id>.fits` or `<id>_u.fits`, `<id>_g.fits`, ... are looked for, at any depth.
        columns: their names.

    Raises:
        BadInput: naming table and column: unreadable, no rows, a column is missing, of another unit, or no numbers.
    """
    table, units = read_table_file(path)
    if not len(table):
        raise BadInput(f"{path} has no rows")
    names = {str(name).lower(): str(name) for name in table.columns}
    used: dict[str, str] = {}

    def column(what: str, asked: str | None, customary: Sequence[str], option: str | None = None) -> pd.Series | None:
        found = asked if asked in table else next((names[name] for name in customary if name in names), None)
        if asked is not None and asked not in table:
            raise BadInput(f"{path} has no column {asked!r:.60}; it has {', '.join(map(str, table.columns))[:200]}")
        if found is None:
            if option is None:
                return None
            have = ", ".join(map(str, table.columns))[:200]
            raise BadInput(f"{path} has no column for the {what}: name it with {option}; it has {have}")
        used[what] = found
        return table[found]

    ids = column("object id", columns.object_id, _IDS, "--id")
    assert ids is not None  # noqa: S101 - required
    magnitudes = []
    pattern = _magnitude_pattern(names) if columns.magnitudes is None else None
    for number, band in enumerate(BANDS):
        asked = columns.magnitudes[number] if columns.magnitudes is not None else None
        values = column(f"{band} magnitude", asked, [] if pattern is None else [pattern.format(band)], "--magnitudes")
        assert values is not None  # noqa: S101 - required
        magnitudes.append(_numbers(values, path, units, ("mag", "AB", "mag(AB)", "mag(ST)"), 1.0))
    redshifts = column("redshift", columns.redshift, _REDSHIFTS)
    ra, dec = (column(name, None, (name,)) for name in ("ra", "dec"))
    nothing = np.full(len(table), np.nan)
    z_spec = nothing if redshifts is None else _numbers(redshifts, path, units, ("",), 1.0)
    known = np.isfinite(z_spec) & (z_spec > -1)
    return Objects(
        name=str(path),
        ids=np.array([_text(value) for value in ids], dtype=object),
        magnitudes=np.stack(magnitudes, axis=1),
        redshifts=np.where(known, z_spec, np.nan),
        ra=nothing if ra is None else _numbers(ra, path, units, ("deg",), 360.0),
        dec=nothing if dec is None else _numbers(dec, path, units, ("deg",), 90.0),
        cutouts=_cutouts(table, names, used, folder, [_text(value) for value in ids]),
        columns=used,
    )


def _magnitude_pattern(names: dict[str, str]) -> str | None:
    """What the five magnitudes are called, all alike; `z` beside u, g, r, i is a band, and no redshift."""
    return next((pattern for pattern in _MAGNITUDES if all(pattern.format(band) in names for band in BANDS)), "mag_{}")


def _text(value: Any) -> str:
    """An id as text: whole numbers without a decimal point, bytes decoded."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or value is pd.NA or value != value else str(value).strip()


def _numbers(
    values: pd.Series, path: Path, units: dict[str, str], allowed: Sequence[str], largest: float
) -> np.ndarray:
    unit = units.get(str(values.name), "")
    if unit and unit not in allowed:
        raise BadInput(f"{path}: the column {values.name} is in {unit!r:.40}, not in {allowed[0] or 'no unit'}")
    try:
        found = numbers(values)
    except ValueError:
        raise BadInput(f"{path}: the column {values.name} holds something that is no number") from None
    if largest > 1 and (np.abs(found[np.isfinite(found)]) > largest).any():
        raise BadInput(f"{path}: the column {values.name} goes beyond {largest:g} degrees")
    return found


def _cutouts(
    table: pd.DataFrame, names: dict[str, str], used: dict[str, str], folder: Path, ids: Sequence[str]
) -> list[tuple[Path, ...]]:
    for pattern in _BAND_CUTOUTS:
        if all(pattern.format(band) in names for band in BANDS):
            columns = [names[pattern.format(band)] for band in BANDS]
            used["cut-outs"] = ", ".join(columns)
            parts = [[_text(value) for value in table[column]] for column in columns]
            return [tuple(folder / word for word in words) if all(words) else () for words in zip(*parts, strict=True)]
    one = next((names[name] for name in _CUTOUTS if name in names), None)
    if one is not None:
        used["cut-outs"] = one
        return [(folder / word,) if word else () for word in (_text(value) for value in table[one])]
    used["cut-outs"] = f"files of {folder} that are called as the object id"
    there = {_stem(path): path for path in sorted(folder.rglob("*")) if path.name.endswith(IMAGES)}
    return [_named(there, name) for name in ids]


def _stem(path: Path) -> str:
    return next(
        path.name.removesuffix(end) for end in (".fits.gz", ".fits.fz", ".fits", ".fit") if path.name.endswith(end)
    )


def _named(there: dict[str, Path], name: str) -> tuple[Path, ...]:
    if name in there:
        return (there[name],)
    for joint in "_-.":
        parts = [there.get(f"{name}{joint}{band}") for band in BANDS]
        if any(part is not None for part in parts):
            # A band that is missing is named when it is read.
            some = next(part for part in parts if part is not None)
            return tuple(
                part or some.with_name(f"{name}{joint}{band}.fits") for part, band in zip(parts, BANDS, strict=True)
            )
    return ()

"""Which column is which: the one resolver of names (`tasks.survey.column_names`), for every command that reads a table.

A name as it is written here comes before the same name in another case; two candidates that differ are an error that
names both and the option that decides. What was taken, and what else was there, is said.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from inference.errors import BadInput
from tasks.survey.band_names import USUAL, how_many
from tasks.survey.column_families import are_magnitudes, can_be_magnitudes, families, without_unit
from tasks.survey.column_names import (
    DEC,
    FLUX_VECTORS,
    FLUXES,
    MAGNITUDES,
    OBJECT_ID,
    PREDICTION,
    RA,
    REDSHIFT,
    VECTORS,
    Wanted,
)

_REDSHIFT = re.compile(r"(?:^|[^a-z])z|z$|redshift|photo|pred|true", re.IGNORECASE)
_PLACES = {5: 0, 7: 2}  # in a vector of u g r i z, and of FUV NUV u g r i z: where u is


@dataclass(frozen=True)
class ColumnOptions:
    """Names of columns that somebody gave; None looks for the customary ones.

    Attributes:
        magnitudes: one a band, or one of as many values a row (of u g r i z, also with FUV NUV before them).
        hdu: which table of the file: an HDU of FITS by number or name, a group of HDF5.
    """

    object_id: str | None = None
    ra: str | None = None
    dec: str | None = None
    redshift: str | None = None
    prediction: str | None = None
    magnitudes: Sequence[str] | None = None
    hdu: str | None = None


@dataclass
class Resolver:
    """Finds the columns of one table.

    Attributes:
        table: how it is called in messages.
        names: its columns.
        used: what was found, and under which name.
        notes: sentences that a person should read: what was not found, and what else could have been meant.

    Args:
        same: whether two columns hold the same values, so that no choice between them is needed.
        bands: those whose magnitudes are looked for.
    """

    table: str
    names: Sequence[str]
    same: Callable[[str, str], bool] = lambda one, other: False
    used: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bands: tuple[str, ...] = USUAL

    def find(self, wanted: Wanted, asked: str | None = None) -> str | None:
        """The column that is wanted; None where there is none under a customary name.

        Raises:
            BadInput: there is no column of the name asked for, or two candidates differ.
        """
        if asked is not None:
            return self._use(wanted.what, self.named(asked, wanted.option))
        candidates = list(dict.fromkeys(found for name in wanted.names for found in self._spelled(name)))
        candidates = [name for name in candidates if name not in self.used.values()]
        if not candidates:
            return None
        if wanted.ranked:
            first = next(name for name in wanted.names if set(self._spelled(name)) & set(candidates))
            candidates = [name for name in candidates if name in self._spelled(first)]
        return self._use(wanted.what, self._only(candidates, wanted))

    def _only(self, candidates: Sequence[str], wanted: Wanted) -> str:
        """The one candidate, or the first of several that hold the same."""
        rivals = [name for name in candidates[1:] if not self.same(candidates[0], name)]
        if rivals:
            raise BadInput(
                f"{self.table} has {_listed([candidates[0], *rivals])}, each of which could be the {wanted.what}:"
                f" choose with {wanted.option}"
            )
        return candidates[0]

    def required(self, wanted: Wanted, asked: str | None = None) -> str:
        """The column that is wanted.

        Raises:
            BadInput: there is none, or see `find`.
        """
        found = self.find(wanted, asked)
        if found is None:
            raise BadInput(
                f"{self.table} has no column for the {wanted.what}: name it with {wanted.option};"
                f"{self._perhaps(wanted)} {self.has()}"
            )
        return found

    def _perhaps(self, wanted: Wanted) -> str:
        """Columns whose names may tell of redshifts, with the option to write."""
        spoken_for = {*self.used.values(), *(name for each in (REDSHIFT, PREDICTION) for name in each.names)}
        likely = [name for name in self.names if _REDSHIFT.search(name) and name not in spoken_for]
        if wanted not in (REDSHIFT, PREDICTION) or not 0 < len(likely) <= 4:
            return ""
        return f" perhaps {' or '.join(f'{wanted.option} {shlex.quote(name)}' for name in likely)};"

    def optional(self, wanted: Wanted, asked: str | None = None) -> str | None:
        """The column that is wanted; where there is none, a note says so."""
        return self._noted(self.find(wanted, asked), wanted)

    def _noted(self, found: str | None, wanted: Wanted) -> str | None:
        if found is None:
            self.notes.append(f"no column for the {wanted.what} was found: {wanted.option} names one")
        return found

    def redshift(self, asked: str | None = None, is_redshift: Callable[[str], bool] = lambda name: False) -> str | None:
        """The spectroscopic redshift; `z` or `Z` counts where it is no band and holds redshifts (`is_redshift`)."""
        found = self.find(REDSHIFT, asked)
        if found is None:
            spare = [name for name in ("z", "Z") if name in self.names and name not in self.used.values()]
            if likely := [name for name in spare if is_redshift(name)]:
                found = self._use(REDSHIFT.what, self._only(likely, REDSHIFT))
        return self._noted(found, REDSHIFT)

    def magnitudes(self, asked: Sequence[str] | None = None) -> tuple[list[str], str | None]:
        """The columns of magnitudes, one a band; or of fluxes, and the unit that they are taken to have.

        Args:
            asked: a name a band, or the one of a column of several values a row.

        Raises:
            BadInput: they are not all there, or two candidates differ.
        """
        if asked is not None:
            vector = self._vector(asked[0]) if len(asked) == 1 else None
            found = vector or [self.named(name, "--magnitudes") for name in asked]
            if len(found) != len(self.bands):
                raise BadInput(
                    f"--magnitudes must name {how_many(self.bands)} columns, in the order {','.join(self.bands)},"
                    f" not {','.join(asked)!r:.80}"
                )
            return self._use_bands(found), None
        sets = [*map(self._each_band, MAGNITUDES), *map(self._vector, VECTORS)]
        magnitudes = [columns for columns in sets if columns]
        units = dict.fromkeys(FLUX_VECTORS, "nanomaggy") | FLUXES
        found_fluxes = {
            name: self._each_band(name) if "{}" in name else self._vector(name) for name in (*FLUXES, *FLUX_VECTORS)
        }
        fluxes = [columns for columns in found_fluxes.values() if columns]
        if not magnitudes and (family := self._family()):
            return self._use_bands(family), None
        if not magnitudes and not fluxes:
            raise BadInput(self._no_magnitudes())
        first, *others = magnitudes or fluxes
        if others:
            shown = "; ".join(_range(columns) for columns in others)
            self.notes.append(f"{shown} could be the magnitudes too: --magnitudes takes others")
        unit = None
        if not magnitudes:
            unit = next(units[name] for name, columns in found_fluxes.items() if columns == first)
            self.notes.append(f"magnitudes are computed from {_range(first)}, taken as {unit} where no unit is stated")
        return self._use_bands(first), unit

    def named(self, asked: str, option: str) -> str:
        """The column of a name that somebody gave: as it is written, or in another case.

        Raises:
            BadInput: there is none, or several differ in case alone.
        """
        found = self._spelled(asked)
        if not found:
            raise BadInput(f"{self.table} has no column {asked!r:.60} ({option}); {self.has()}")
        if len(found) > 1:
            raise BadInput(f"{self.table} has {_listed(found)}: write the name for {option} exactly")
        return found[0]

    def has(self) -> str:
        """The table's columns, for a message."""
        names = ", ".join(map(str, self.names))[:200].replace("\n", "\\n")
        return f"it has {names or 'none'} (cosmic inspect {self.table} says more)"

    def _spelled(self, name: str) -> list[str]:
        """The column of exactly this name; else those that differ in case alone; else in how words are joined."""
        if name in self.names:
            return [name]
        alike = [other for other in self.names if other.lower() == name.lower()]
        return alike or [other for other in self.names if _joined(other) == _joined(name)]

    def _each_band(self, pattern: str) -> list[str] | None:
        """The columns of a pattern, all in one spelling."""
        exact = [pattern.format(band) for band in self.bands]
        if all(name in self.names for name in exact):
            return exact
        before, after = pattern.lower().split("{}")
        spellings: dict[tuple[str, str, bool], dict[str, str]] = {}
        for name in self.names:
            folded = without_unit(name).lower()
            band = folded[len(before) : len(folded) - len(after)]
            if band in self.bands and folded == before + band + after:
                end = len(before) + len(band)
                way = (name[: len(before)], name[end:], name[len(before) : end].isupper())
                spellings.setdefault(way, {})[band] = name
        whole = [[found[band] for band in self.bands] for found in spellings.values() if len(found) == len(self.bands)]
        if len(whole) > 1:
            raise BadInput(
                f"{self.table} has {' and '.join(map(_range, whole))}, each of which could be the magnitudes:"
                " choose with --magnitudes"
            )
        if whole:
            return whole[0]
        # Each band in a spelling of its own; a bare letter's case distinguishes a magnitude from a redshift.
        bands = {band: [found[band] for found in spellings.values() if band in found] for band in self.bands}
        alone = pattern != "{}" and all(len(spelled) == 1 for spelled in bands.values())
        return [bands[band][0] for band in self.bands] if alone else None

    def _vector(self, name: str) -> list[str] | None:
        """The columns of a vector column: of u g r i z those that are wanted, or as many as there are bands."""
        places = sorted(other for other in self.names if other.lower().startswith(f"{name.lower()}["))
        stems = sorted({other.rpartition("[")[0] for other in places})
        if stems and len(places) in _PLACES and set(self.bands) <= set(USUAL):
            first = _PLACES[len(places)]
            return [f"{stems[0]}[{first + USUAL.index(band)}]" for band in self.bands]
        return [f"{stems[0]}[{number}]" for number in range(len(places))] if len(places) == len(self.bands) else None

    def _family(self) -> list[str] | None:
        """Magnitudes under other names than the customary ones, which is said; None where there are none."""
        found = [columns for columns in families(self.names, self.bands) if are_magnitudes(columns, self.bands)]
        if len(found) > 1:
            shown = " or ".join(shlex.quote(",".join(columns)) for columns in found[:4])
            raise BadInput(
                f"{self.table} has {len(found)} sets of columns that could be the magnitudes: choose with"
                f" --magnitudes {shown}"
            )
        if found:
            self.notes.append(f"magnitudes from {_range(found[0])}, by what their names have in common")
        return found[0] if found else None

    def _no_magnitudes(self) -> str:
        wanted = " ".join(self.bands)
        if alike := [columns for columns in families(self.names, self.bands) if can_be_magnitudes(columns)]:
            shown = " or ".join(shlex.quote(",".join(columns)) for columns in alike[:4])
            return (
                f"{self.table} has no columns that are known to be the magnitudes in {wanted}: name them, as"
                f" --magnitudes {shown}; {self.has()}"
            )
        for pattern in MAGNITUDES[:-1]:
            there = [band for band in self.bands if self._spelled(pattern.format(band))]
            if there:
                lacking = " ".join(band for band in self.bands if band not in there)
                return (
                    f"{self.table} has magnitudes in {' '.join(there)} ({pattern.format(there[0])}, ...) and none in"
                    f" {lacking}: the model takes {wanted}; name {how_many(self.bands)} columns with --magnitudes, or"
                    f" say --take {','.join(there)} for a model of those bands"
                )
        return f"{self.table} has no columns for the magnitudes in {wanted}: name them with --magnitudes; {self.has()}"

    def _use_bands(self, columns: list[str]) -> list[str]:
        for band, name in zip(self.bands, columns, strict=True):
            self._use(f"{band} magnitude", name)
        return columns

    def _use(self, what: str, name: str) -> str:
        self.used[what] = name
        return name


def knows_columns(names: Iterable[str]) -> bool:
    """Whether a table of these columns can be one of objects: one of them has a customary name."""
    folded = {str(name).lower() for name in names}
    wanted = {name.lower() for each in (OBJECT_ID, RA, DEC, REDSHIFT, PREDICTION) for name in each.names}
    magnitudes = {pattern.format("r").lower() for pattern in (*MAGNITUDES, *FLUXES)}
    return bool(folded & (wanted | magnitudes)) or any(f"{name.lower()}[0]" in folded for name in VECTORS)


def _joined(name: str) -> str:
    """A name without its unit in brackets, its words joined as columns mostly have them.

    >>> _joined("Photo-z (best)"), _joined("RA [deg]")
    ('photo_z', 'ra')
    """
    return re.sub(r"[^a-z0-9]+", "_", without_unit(name).lower()).strip("_")


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _range(columns: Sequence[str]) -> str:
    return f"{columns[0]} ... {columns[-1]}"

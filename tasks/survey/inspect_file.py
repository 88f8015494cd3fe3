"""What a file is and what of it would be taken for what: for whoever wants to know before, or was refused."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract.plausible import MAGNITUDE, PREDICTION, REDSHIFT
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput
from tasks.survey import column_names
from tasks.survey.array_files import check_scale, open_arrays
from tasks.survey.blank_bands import find_blank_bands
from tasks.survey.columns import ColumnOptions
from tasks.survey.cutouts import PixelOptions, read_cutout
from tasks.survey.damaged_file import refuse_what_is_no_file
from tasks.survey.doubts import place_doubts, redshift_doubts
from tasks.survey.fits_images import band_of, open_images, science_images
from tasks.survey.image_tables import is_folder_of_images
from tasks.survey.object_table import TableReader, find_table, object_ids
from tasks.survey.sky import same_scale, sky_of
from tasks.survey.table_arrow import ARROW_STREAM
from tasks.survey.table_file import TableFile, read_table_file
from tasks.survey.table_width import TooWide
from tasks.survey.units import NO_UNIT

_SHOWN = 200  # columns


@dataclass
class Inspection:
    """What was found.

    Attributes:
        file: its name.
        form: what it is.
        objects: rows or galaxies, where there are any.
        columns: of a table, with their units.
        taken: what would be taken for what.
        facts: shapes, bands, units, pixel scale.
        doubts: what is doubtful or would be refused, as sentences.
    """

    file: str
    form: str
    objects: int | None = None
    columns: list[dict[str, str]] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


def inspect_file(path: Path, options: ColumnOptions, pixels: PixelOptions, mapping: dict[str, str]) -> Inspection:
    """Look at a file, or at the table of a folder; nothing is written.

    Raises:
        BadInput: there is no such file, or it is none of the forms that are known.
    """
    if not path.exists():
        raise BadInput(f"there is no file {path}")
    refuse_what_is_no_file(path)
    if is_folder_of_images(path):
        return _arrays(path, options, pixels, mapping)
    if path.is_dir():
        try:
            path = find_table(path)
        except BadInput:
            return _table(path, options, pixels)  # a folder of Parquet files, or none
    if _begins(path, b"SIMPLE  =") or _begins(path, b"\x1f\x8b"):
        tries: list[Callable[[], Inspection]] = [lambda: _table(path, options, pixels), lambda: _cutout(path, pixels)]
        if _begins(path, b"SIMPLE  ="):  # a table with images is more than a table
            tries.insert(0, lambda: _arrays(path, options, pixels, mapping))
    else:
        tries = [lambda: _table(path, options, pixels), lambda: _arrays(path, options, pixels, mapping)]
        tables = (b"PAR1", b"\x89HDF", b"ARROW1", ARROW_STREAM)
        if not _begins(path, *tables, b"PK", b"\x80") and not _is_safetensors(path):
            tries = tries[:1]
        elif not _begins(path, *tables):
            tries = tries[1:]
        else:
            tries = tries[::-1]  # a table with images is more than a table
    reasons: list[BadInput] = []
    for look in tries[:-1]:
        try:
            return _with_pictures(look(), reasons)
        except TooWide:
            raise
        except BadInput as error:
            reasons.append(error)
    try:
        return _with_pictures(tries[-1](), reasons)
    except BadInput as error:
        # For a FITS file without images, the message names what is wrong with its table.
        raise (reasons[-1] if reasons and "holds no image" in str(error) else error) from None


def _with_pictures(found: Inspection, reasons: list[BadInput]) -> Inspection:
    """A table beside which pictures lie says so."""
    found.doubts += [str(reason) for reason in reasons if "pictures" in str(reason)]
    return found


def _begins(path: Path, *magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(16).startswith(magic)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _arrays(path: Path, options: ColumnOptions, pixels: PixelOptions, mapping: dict[str, str]) -> Inspection:
    galaxies = open_arrays(path, mapping, pixels, options)
    found = Inspection(str(path), "a survey in one file", len(galaxies))
    shapes = {"images": galaxies.images, "magnitudes": galaxies.magnitudes, "redshifts": galaxies.redshifts}
    found.facts = {name: str(tuple(each.shape)) for name, each in shapes.items() if each is not None}
    found.taken = {name: name for name in found.facts}
    found.facts |= _survey_facts(galaxies.facts or SurveyFacts())
    try:
        check_scale(galaxies, pixels)
    except BadInput as error:
        found.doubts.append(str(error))
    notes = galaxies.notes
    try:
        notes = galaxies.usable(take_blank=pixels.take_blank)[0].notes
    except BadInput as error:
        found.doubts.append(str(error))
    found.doubts += notes
    if galaxies.redshifts is not None:
        unknown = int((~REDSHIFT.measured(np.asarray(galaxies.redshifts[0 : len(galaxies)]))).sum())
        found.facts["unknown redshifts"] = f"{unknown:,}"
    return found


def _survey_facts(facts: SurveyFacts) -> dict[str, str]:
    """What a partition of the galaxies would say of them."""
    scale = facts.pixel_scale
    known = {
        "bands": " ".join(facts.bands or ()),
        "pixel scale": "" if scale is None else f"{scale:.4g} arcseconds",
        "pixel unit": facts.pixel_unit or "",
        "magnitude system": facts.magnitude_system or "",
    }
    return {what: value or "not stated" for what, value in known.items()}


def _table(path: Path, options: ColumnOptions, pixels: PixelOptions) -> Inspection:
    table = read_table_file(path, options.hdu)
    form = f"a table of {table.form}" + (f" ({table.part})" if table.part else "")
    found = Inspection(str(path), form, len(table.frame))
    names = list(map(str, table.frame.columns))
    found.columns = [{"name": name, "unit": table.units.get(name, "")} for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        found.doubts.append(f"{len(names) - _SHOWN:,} more columns are not shown")
    reader = TableReader(str(path), table, pixels.wanted)
    resolver = reader.resolver
    looks: list[Callable[[], object]] = [
        lambda: _ids(table, resolver.find(column_names.OBJECT_ID, options.object_id), found),
        lambda: _counted(found, "magnitudes", _whole(reader.magnitudes(options.magnitudes))),
        lambda: _counted(found, "redshifts", np.isfinite(reader.redshifts(options.redshift))),
        lambda: _predictions(reader, resolver.find(column_names.PREDICTION, options.prediction), found),
        lambda: _places(reader, options),
    ]
    for look in looks:
        try:
            look()
        except BadInput as error:
            found.doubts.append(str(error))
    found.taken = resolver.used
    found.doubts += resolver.notes
    return found


def _ids(table: TableFile, column: str | None, found: Inspection) -> None:
    if column is None:
        found.doubts.append("no column for the object id was found: --id names one")
        return
    ids = object_ids(table.frame[column], found.file)
    twice = len(ids) - len(set(ids))
    if twice:
        found.doubts.append(f"{twice:,} rows repeat an object id of {column}")


def _whole(magnitudes: np.ndarray) -> np.ndarray:
    return np.asarray(MAGNITUDE.measured(magnitudes).all(axis=1))


def _counted(found: Inspection, what: str, good: np.ndarray) -> None:
    found.facts[f"rows with plausible {what}"] = f"{int(good.sum()):,} of {len(good):,}"


def _predictions(reader: TableReader, column: str | None, found: Inspection) -> None:
    if column is not None:
        values = reader.numbers(column, NO_UNIT)
        _counted(found, "predictions", PREDICTION.measured(values))
        found.doubts += redshift_doubts(column, values, PREDICTION)


def _places(reader: TableReader, options: ColumnOptions) -> None:
    find = reader.resolver.find
    ra = reader.degrees(find(column_names.RA, options.ra), 360.0)
    dec = reader.degrees(find(column_names.DEC, options.dec), 90.0)
    reader.resolver.notes += place_doubts(ra, dec)


def _cutout(path: Path, pixels: PixelOptions) -> Inspection:
    found = Inspection(str(path), "a cut-out in FITS", 1)
    with open_images(path) as images:
        science = science_images(path, images, pixels.ext)
        for number, hdu in enumerate(images):
            use = "" if any(hdu is other for other in science) else ", not the sky"
            band = band_of(hdu.header, pixels.wanted)
            shown = f"{tuple(hdu.shape)}{f' of the band {band}' if band else ''}{use}"
            found.facts[f"image {number} {hdu.name}".strip()] = shown
        header, shape = science[0].header, science[0].shape
        sky = sky_of(header, *shape[-2:])
        found.facts["unit"] = str(header.get("BUNIT", "")).strip() or "not stated"
        found.facts["pixel scale"] = "not stated" if sky.scale is None else f"{sky.scale:.4g} arcseconds"
        dates = sorted({str(hdu.header["DATE-OBS"]) for hdu in science if "DATE-OBS" in hdu.header})
        if dates:
            found.facts["observed"] = " to ".join(dict.fromkeys((dates[0], dates[-1])))
        if sky.centre is not None:
            found.facts["centre"] = f"{sky.centre[0]:.5f} {sky.centre[1]:+.5f} {sky.frame or ''}".strip()
        if sky.scale is not None and not same_scale(sky.scale, pixels.scale):
            found.doubts.append(
                f"its pixels are {sky.scale:.4g} arcseconds wide and {pixels.whose} are {pixels.scale:.4g}"
            )
        found.doubts += [sky.doubt] if sky.doubt else []
        if len(shape) == 2 and len(science) < len(pixels.wanted):
            found.taken = {"one band": band_of(header, pixels.wanted) or "the one that the file's name ends with"}
            return found
    try:
        image, _ = read_cutout([path], pixels)
        found.taken = {"image": f"the bands {' '.join(pixels.wanted)}"}
        found.doubts += find_blank_bands(image[None], pixels.wanted).values()
    except BadInput as error:
        found.doubts.append(str(error))
    return found

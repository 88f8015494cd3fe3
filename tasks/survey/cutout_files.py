"""Which files are the cut-outs of an object: those that the table names, or those that are called as its id."""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from inference.errors import BadInput
from tasks.survey.band_names import USUAL
from tasks.survey.columns import Resolver
from tasks.survey.table_file import as_text

IMAGES = (".fits.gz", ".fits.fz", ".fits", ".fit", ".fts")  # in any case
_CUTOUTS = ("cutout", "cutout_file", "image", "file", "filename", "path")
_BAND_CUTOUTS = ("cutout_{}", "image_{}", "file_{}")
_BAND_FORMS = ("{name}{joint}{band}", "{band}{joint}{name}")
# What folders and extensions are called whose pixels are not the sky's light.
NOT_SCIENCE = re.compile(
    r"(?:^|[^a-z])(?:psfs?|psf_?models?|(?:bit|bad|obj|object|dq|bp|pix)_?masks?|masks?|(?:good|bad)_?pix(?:els?)?|weights?|wht|wts?|var|vars|variances?|invvars?|inverse_?variances?|ivars?|errs?|errors?"
    r"|rms|sigmas?|std|stdevs?|stddevs?|unc|uncert(?:ainty)?|noise|flags?|dq|quality|segm?(?:ap)?s?|segmentations?|bkg|backgrounds?"
    r"|sky|models?|resid(?:ual)?s?|exp(?:osure|map)?s?|maskbits|nexp|depths?|confmaps?|confidence|coverage|contam(?:ination)?|chi2|chisq|ctx|con)(?:$|[^a-z])"
)


def is_science(name: str) -> bool:
    """Whether a name is not that of a PSF, a mask, a weight, an error or the like.

    >>> is_science("IMAGE"), is_science("psf"), is_science("VARIANCE"), is_science("des-g_invvar")
    (True, False, False, False)
    """
    return NOT_SCIENCE.search(name.lower()) is None


def band_in(name: str, bands: Iterable[str] = USUAL) -> str | None:
    """The one of the bands that stands in a name as a word of its own.

    >>> band_in("sdss_g"), band_in("r DECam SDSS c0002"), band_in("gri"), band_in("Ks")
    ('g', 'r', None, None)
    """
    found = set(re.split(r"[^a-z0-9]+", name.lower())) & set(bands)
    return found.pop() if len(found) == 1 else None


def find_cutouts(table: pd.DataFrame, columns: Resolver, folder: Path, ids: Sequence[str]) -> list[tuple[Path, ...]]:
    """The files of each object: one, one a band in the order of `columns.bands`, or none.

    Raises:
        BadInput: two files are called as one object, and nothing tells which is the image.
    """
    bands = columns.bands
    names = {str(name).lower(): str(name) for name in table.columns}
    for pattern in _BAND_CUTOUTS:
        if all(pattern.format(band) in names for band in bands):
            found = [names[pattern.format(band)] for band in bands]
            columns.used["cut-outs"] = ", ".join(found)
            parts = [[as_text(value) for value in table[column]] for column in found]
            return [tuple(folder / word for word in words) if all(words) else () for words in zip(*parts, strict=True)]
    one = next((names[name] for name in _CUTOUTS if name in names), None)
    if one is not None:
        columns.used["cut-outs"] = one
        return [(folder / word,) if word else () for word in map(as_text, table[one])]
    columns.used["cut-outs"] = f"files of {folder} that are called as the object id"
    there = _by_stem(path for path in sorted(folder.rglob("*")) if path.name.lower().endswith(IMAGES))
    return [_named(there, folder, name, bands) for name in ids]


def _by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    there: dict[str, list[Path]] = {}
    for path in paths:
        end = next(end for end in IMAGES if path.name.lower().endswith(end))
        there.setdefault(path.name[: -len(end)], []).append(path)
    return there


def _named(there: dict[str, list[Path]], folder: Path, name: str, bands: Sequence[str]) -> tuple[Path, ...]:
    same = there.get(name, [])
    folders = {band: [path for path in same if band_in(path.parent.name, bands) == band] for band in bands}
    if len(same) >= len(bands) and all(folders.values()):  # `g/NAME.fits`, `r/NAME.fits`, ...
        found = [_only(paths, folder, name) for paths in folders.values()]
        return tuple(path for path in found if path is not None)
    whole = _only(same, folder, name)
    if whole is not None:
        return (whole,)
    for joint, form, spelled in product("_-.", _BAND_FORMS, (str.lower, str.upper)):
        stems = [form.format(name=name, joint=joint, band=spelled(band)) for band in bands]
        parts = [_only(there.get(stem, []), folder, name) for stem in stems]
        some = next((part for part in parts if part is not None), None)
        if some is not None:  # a band that is missing is named when it is read
            return tuple(part or some.with_name(f"{stem}.fits") for part, stem in zip(parts, stems, strict=True))
    return ()


def _only(paths: Sequence[Path], folder: Path, name: str) -> Path | None:
    """The file, of several the only one that does not lie among PSFs, masks, weights or the like."""
    if len(paths) > 1:
        paths = [path for path in paths if is_science("/".join(path.relative_to(folder).parts[:-1]))] or paths
    if len(paths) > 1:
        shown = " and ".join(str(path.relative_to(folder)) for path in paths[:3])
        raise BadInput(
            f"{folder} holds several files of the object {name!r:.60}, {shown}: name the folder of the images and the"
            " table, as in cosmic ingest FOLDER --table FILE"
        )
    return paths[0] if paths else None

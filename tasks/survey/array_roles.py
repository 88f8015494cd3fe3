"""Which array of a file holds images, magnitudes or redshifts, and in which order its bands are."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from inference.errors import BadInput
from tasks.survey.band_names import USUAL

ROLES = {
    "images": (
        *("images", "image", "image_array", "imgs", "img", "cutouts", "cutout", "stamps", "pixels", "flux_images"),
        *("cube", "cubes"),
    ),
    "magnitudes": ("magnitudes", "magnitude", "mags", "mag", "photometry"),
    "redshifts": ("redshifts", "redshift", "z_spec", "zspec", "spec_z", "specz", "z", "labels", "label", "targets"),
}


class Values(Protocol):
    """An array, or something of a file that gives arrays when it is sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102 - as numpy's

    def __getitem__(self, part: slice, /) -> Any: ...


def refuse_pictures(name: str, found: Mapping[str, Values], mapping: Mapping[str, str]) -> None:
    """Refuse images that are pictures for display, as those of Galaxy10: bytes in red, green and blue.

    Raises:
        BadInput: naming the file, and whether there are magnitudes.
    """
    images = array_for(name, "images", found, mapping)
    shape = () if images is None else tuple(found[images].shape)
    if images is None or len(shape) != 4 or np.asarray(found[images][0:1]).dtype != np.uint8:
        return
    beside = "" if array_for(name, "magnitudes", found, mapping) else ", and has no magnitudes"
    raise BadInput(
        f"{name}: images hold bytes, as pictures for display do ({images} {shape}), which are no fluxes{beside}: the"
        " model needs fluxes and magnitudes in its bands, as FITS cut-outs and a catalogue of the same galaxies have"
    )


def order_of(name: str, bands: Sequence[str], wanted: Sequence[str] = USUAL) -> tuple[int, ...]:
    """Where the bands that are wanted stand among those of a file.

    Raises:
        BadInput: naming the file: one is missing, or there twice.
    """
    letters = [band.strip().lower() for band in bands]
    lacking = [band for band in wanted if letters.count(band) != 1]
    if lacking:
        way = f": say --take {','.join(letters)} for a model of those" if len(set(letters)) == len(letters) else ""
        raise BadInput(
            f"{name} has images in {' '.join(letters)}; the model takes {' '.join(wanted)}, {lacking[0]} once{way}"
        )
    return tuple(letters.index(band) for band in wanted)


def by_shape(name: str, arrays: Sequence[Values]) -> dict[str, Values]:
    """Names for arrays that have none: images have four axes, magnitudes (N, bands), redshifts one number a galaxy.

    Raises:
        BadInput: their shapes do not tell which is which.
    """
    named: dict[str, Values] = {}
    for array in arrays:
        axes = len(array.shape)
        role = "images" if axes == 4 else "magnitudes" if axes == 2 and array.shape[1] > 1 else "redshifts"
        if role in named or axes not in {1, 2, 4} or (role == "redshifts" and axes == 2 and array.shape[1] != 1):
            break
        named[role] = array
    if len(named) < len(arrays) or "images" not in named:
        shapes = ", ".join(str(tuple(each.shape)) for each in arrays[:8])
        raise BadInput(
            f"{name} holds arrays of the shapes {shapes}: images (N, bands, S, S), magnitudes (N, bands) and redshifts"
            " (N,) are needed"
        )
    return named


def array_for(name: str, role: str, found: Mapping[str, Values], mapping: Mapping[str, str]) -> str | None:
    """The array that holds images, magnitudes or redshifts, by its customary name or the one that was given.

    Raises:
        BadInput: naming the file: there is no array of the name that was given, or several could be it.
    """
    if role in mapping:
        if mapping[role] not in found:
            raise BadInput(f"{name} has no array {mapping[role]!r:.60} (--map); {arrays_shown(found)}")
        return mapping[role]
    exact = [key for key in ROLES[role] if key in found]
    there = exact or [key for key in found if key.lower() in ROLES[role]]
    there = [key for key in there if key not in mapping.values()]
    if len(there) > 1:
        candidates = " and ".join(there[:5])
        raise BadInput(f"{name} has {candidates}, each of which could be the {role}: choose with --map {role}=NAME")
    return there[0] if there else None


def arrays_shown(found: Mapping[str, Values]) -> str:
    """Which arrays there are, for a message."""
    return "it has " + (", ".join(f"{key} {tuple(each.shape)}" for key, each in list(found.items())[:12]) or "none")

"""A galaxy's cut-out from FITS files, as the model takes it: five bands, 32 x 32 pixels, nanomaggies.

An object is one file (a cube of five planes, or five image extensions) or five, one a band. Larger images are cropped
about their centre, as the published set was (contract, "Data").
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract.plausible import PIXEL
from inference.contract.sample import BAND_NAMES as BANDS
from inference.contract.sample import IMAGE_SHAPE
from inference.errors import BadInput
from tasks.survey.blank_bands import find_blank_bands
from tasks.survey.fits_images import (
    band_of,
    by_band,
    open_images,
    plane_order,
    science_images,
    shape_of,
    stated_order,
    the_one,
)
from tasks.survey.sky import SCALE, Sky, disagreement, mismatch, sky_of
from tasks.survey.units import nanomaggies

SIDE = IMAGE_SHAPE[1]


@dataclass(frozen=True)
class PixelOptions:
    """What somebody says of their images.

    Attributes:
        unit: of the pixels, whatever BUNIT says.
        bands: the order of a cube's planes, whatever its header says.
        ext: name or number of the image in its file.
        scale: arcseconds a pixel of what the model was trained on.
        take_blank: take images with a band that holds nothing.
    """

    unit: str | None = None
    bands: str | None = None
    ext: str | None = None
    scale: float = SCALE
    take_blank: bool = False


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table: each one's files, and its place (right ascension and declination, NaN where unknown)."""

    rows: list[int]
    paths: list[tuple[Path, ...]]
    places: np.ndarray


@dataclass(frozen=True)
class Cutouts:
    """What was read of a chunk: rows that can be used with their images, the others with what is wrong.

    Attributes:
        without_scale: how many images do not say how large their pixels are.
        without_bands: how many do not say in which order their bands are.
    """

    rows: list[int]
    images: np.ndarray
    faults: list[tuple[int, str]]
    without_scale: int
    without_bands: int = 0


def read_cutouts(chunk: Chunk, options: PixelOptions) -> Cutouts:
    """Read some rows, and hold each image against what the table and the model say."""
    rows, images, faults, without_scale, without_bands = [], [], [], 0, 0
    for row, paths, place in zip(chunk.rows, chunk.paths, chunk.places, strict=True):
        try:
            image, sky = read_cutout(paths, options)
            known = (float(place[0]), float(place[1])) if np.isfinite(place).all() else None
            wrong = mismatch(sky, options.scale, known, SIDE)
            if wrong is None and not options.take_blank:
                blank = find_blank_bands(image[None]).get(0)
                wrong = None if blank is None else f"{blank} (--take-blank takes it)"
            if wrong is not None:
                raise BadInput(f"{paths[0]}: {wrong}")
            images.append(image)
            rows.append(row)
            without_scale += sky.scale is None
            without_bands += not sky.names_bands
        except BadInput as error:
            faults.append((row, str(error)))
    stacked = np.stack(images) if images else np.empty((0, *IMAGE_SHAPE), np.float32)
    return Cutouts(rows, stacked, faults, without_scale, without_bands)


def read_cutout(paths: Sequence[Path], options: PixelOptions) -> tuple[np.ndarray, Sky]:
    """Read one object.

    Args:
        paths: one file, or five in the order u g r i z.
        options: what is known of the images.

    Returns:
        (5, 32, 32), float32, nanomaggies; and where on the sky it says that it lies.

    Raises:
        BadInput: naming the file: unreadable, no image or several, a band is missing, another shape, an unknown unit,
            bands that contradict each other, a pixel that is not plausible.
    """
    if len(paths) == 1:
        image, skies = _one_file(paths[0], options)
    else:
        read = [_plane(path, band, options) for path, band in zip(paths, BANDS, strict=True)]
        planes, skies = [plane for plane, _ in read], [sky for _, sky in read]
        if len({plane.shape for plane in planes}) > 1:
            shown = ", ".join(f"{path.name} {plane.shape}" for path, plane in zip(paths, planes, strict=True))
            raise BadInput(f"the bands of one object differ in shape: {shown}")
        image = np.stack(planes)
    if differ := disagreement(skies):
        raise BadInput(f"{paths[0]}: {differ}")
    return _checked(crop(image, str(paths[0])), paths), skies[0]


def _one_file(path: Path, options: PixelOptions) -> tuple[np.ndarray, list[Sky]]:
    with open_images(path) as images:
        science = science_images(path, images, options.ext)
        if science[0].header["NAXIS"] == 2 and len(science) >= len(BANDS):
            named = by_band(path, science, options.bands)
            read = [_flat(path, named[band], options.unit) for band in BANDS]
            if len({plane.shape for plane, _ in read}) > 1:
                raise BadInput(f"{path}: its bands differ in shape")
            return np.stack([plane for plane, _ in read]), [sky for _, sky in read]
        hdu = the_one(path, science)
        shape = shape_of(path, hdu)
        if len(shape) == 4 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) != 3:
            raise BadInput(f"{path} holds one image of shape {shape}; five bands are needed, a cube (5, height, width)")
        order = plane_order(path, hdu.header, options.bands, shape)
        named_bands = options.bands is not None or stated_order(path, hdu.header, shape) is not None
        sky = replace(sky_of(hdu.header, *shape[1:]), names_bands=named_bands)
        return _pixels(path, hdu, options.unit).reshape(shape)[order], [sky]


def _plane(path: Path, band: str, options: PixelOptions) -> tuple[np.ndarray, Sky]:
    with open_images(path) as images:
        hdu = the_one(path, science_images(path, images, options.ext), band)
        says = band_of(hdu.header)
        if says not in {None, band}:
            raise BadInput(f"{path} is the file of the band {band} and its header says {says}")
        return _flat(path, hdu, options.unit)


def _flat(path: Path, hdu: Any, unit: str | None) -> tuple[np.ndarray, Sky]:
    shape = shape_of(path, hdu)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2:
        raise BadInput(f"{path} has the shape {shape}; the image of one band (height, width) is needed")
    return _pixels(path, hdu, unit).reshape(shape), sky_of(hdu.header, *shape)


def _pixels(path: Path, hdu: Any, unit: str | None) -> np.ndarray:
    """The image in nanomaggies."""
    stated = unit or str(hdu.header.get("BUNIT", "")).strip()
    if not stated:
        raise BadInput(f"{path} does not say in which unit its pixels are (BUNIT): name it with --unit")
    pixels: np.ndarray = hdu.data * np.float64(nanomaggies(stated, path))
    return pixels


def crop(image: np.ndarray, name: str) -> np.ndarray:
    """The middle 32 x 32 pixels of (..., height, width); of an odd margin the larger part is cut off at the far side.

    Raises:
        BadInput: naming it: it is not square, or smaller.
    """
    height, width = image.shape[-2:]
    if height != width:
        raise BadInput(
            f"{name} is {height} x {width} pixels: a cut-out that is not square is not centred on its galaxy"
        )
    if height < SIDE:
        raise BadInput(f"{name} is {height} x {width} pixels; {SIDE} x {SIDE} are needed")
    start = (height - SIDE) // 2
    return image[..., start : start + SIDE, start : start + SIDE]


def _checked(image: np.ndarray, paths: Sequence[Path]) -> np.ndarray:
    with np.errstate(over="ignore"):
        pixels = image.astype(np.float32)
    good = PIXEL.measured(pixels)
    if not good.all():
        band = int(np.argmin(good.all(axis=(1, 2))))
        path = paths[band] if len(paths) > 1 else paths[0]
        values = pixels[band][~good[band]]
        are = f"{len(values):,} pixels are" if len(values) > 1 else "1 pixel is"
        if not np.isfinite(values).all():
            raise BadInput(f"{path}: {are} NaN or infinite in the band {BANDS[band]}")
        raise BadInput(f"{path}: {are} not plausible in the band {BANDS[band]}: one {PIXEL.why_not(float(values[0]))}")
    return pixels

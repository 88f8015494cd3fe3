"""A galaxy's cut-out from FITS files, as a model takes it: its bands, so many pixels a side, nanomaggies.

An object is one file (a cube with one plane for each band, or as many image extensions) or one file for each band.
Larger images are cropped about their centre, as the published set was (contract, "Data"): to u g r i z in
32 x 32 by default.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract.plausible import PIXEL
from inference.contract.sample import IMAGE_SHAPE
from inference.errors import BadInput
from tasks.survey.band_names import USUAL, how_many
from tasks.survey.blank_bands import find_blank_bands
from tasks.survey.cube_planes import plane_order, stated_order
from tasks.survey.fits_images import band_of, by_band, open_images, science_images, shape_of, the_one
from tasks.survey.sky import SCALE, Sky, disagreement, doubt, mismatch, sky_of
from tasks.survey.units import nanomaggies
from tasks.survey.zero_points import card_of, offered, zero_point

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
        take: the bands of the galaxies that come out, in order; None for u g r i z.
        side: pixels a side of their cut-outs; None for 32.
        model: the file that said the scale, for messages.
        scale_given: somebody said the scale, and it is no default.
    """

    unit: str | None = None
    bands: str | None = None
    ext: str | None = None
    scale: float = SCALE
    take_blank: bool = False
    take: Sequence[str] | None = None
    side: int | None = None
    model: str | None = None
    scale_given: bool = False

    @property
    def said_scale(self) -> float | None:
        """What images that do not say their scale are taken to have; None where nobody said it (a model cannot)."""
        return self.scale if self.scale_given or (self.scale != SCALE and self.model is None) else None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The bands that come out."""
        return USUAL if self.take is None else tuple(self.take)

    @property
    def whose(self) -> str:
        """Whose pixels `scale` is, as the words go before "are"."""
        if self.model is not None:
            return f"those of {self.model}"
        return "the demo model's" if self.scale == SCALE else "the model's"

    @property
    def wanted_side(self) -> int:
        """Pixels a side that come out."""
        return SIDE if self.side is None else self.side


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
        doubts: of rows that can be used, what in their headers may be wrong.
    """

    rows: list[int]
    images: np.ndarray
    faults: list[tuple[int, str]]
    without_scale: int
    without_bands: int = 0
    doubts: tuple[str, ...] = ()


def read_cutouts(chunk: Chunk, options: PixelOptions) -> Cutouts:
    """Read some rows, and hold each image against what the table and the model say."""
    rows, images, faults, doubts, without_scale, without_bands = [], [], [], [], 0, 0
    for row, paths, place in zip(chunk.rows, chunk.paths, chunk.places, strict=True):
        try:
            image, sky = read_cutout(paths, options)
            known = (float(place[0]), float(place[1])) if np.isfinite(place).all() else None
            wrong = mismatch(sky, options.scale, known, options.wanted_side, options.whose)
            if wrong is None and not options.take_blank:
                blank = find_blank_bands(image[None], options.wanted).get(0)
                wrong = None if blank is None else f"{blank} (--take-blank takes it)"
            if wrong is not None:
                raise BadInput(f"{paths[0]}: {wrong}")
            images.append(image)
            rows.append(row)
            without_scale += sky.scale is None
            without_bands += not sky.names_bands
            doubts += [f"{paths[0]}: {found}"] if (found := doubt(sky, known)) else []
        except BadInput as error:
            faults.append((row, str(error)))
    shape = (len(options.wanted), options.wanted_side, options.wanted_side)
    stacked = np.stack(images) if images else np.empty((0, *shape), np.float32)
    return Cutouts(rows, stacked, faults, without_scale, without_bands, tuple(doubts))


def read_cutout(paths: Sequence[Path], options: PixelOptions) -> tuple[np.ndarray, Sky]:
    """Read one object.

    Args:
        paths: one file, or one a band in the order of `options.wanted`.
        options: what is known of the images.

    Returns:
        (bands, side, side), float32, nanomaggies; and where on the sky it says that it lies.

    Raises:
        BadInput: naming the file: unreadable, no image or several, a band is missing, another shape, an unknown unit,
            bands that contradict each other, a pixel that is not plausible.
    """
    wanted = options.wanted
    if len(paths) == 1:
        image, skies = _one_file(paths[0], options)
    else:
        read = [_plane(path, band, options) for path, band in zip(paths, wanted, strict=True)]
        planes, skies = [plane for plane, _ in read], [sky for _, sky in read]
        if len({plane.shape for plane in planes}) > 1:
            shown = ", ".join(f"{path.name} {plane.shape}" for path, plane in zip(paths, planes, strict=True))
            raise BadInput(f"the bands of one object differ in shape: {shown}")
        image = np.stack(planes)
    if differ := disagreement(skies):
        raise BadInput(f"{paths[0]}: {differ}")
    return _checked(crop(image, str(paths[0]), options.wanted_side), paths, wanted), skies[0]


def _one_file(path: Path, options: PixelOptions) -> tuple[np.ndarray, list[Sky]]:
    wanted = options.wanted
    with open_images(path) as images:
        science = science_images(path, images, options.ext)
        if science[0].header["NAXIS"] == 2 and len(science) >= len(wanted):
            one = len(science) == len(wanted) == 1 and band_of(science[0].header, wanted) is None
            named = {wanted[0]: science[0]} if one else by_band(path, science, options.bands, wanted)
            read = [_flat(path, named[band], options.unit) for band in wanted]
            if len({plane.shape for plane, _ in read}) > 1:
                raise BadInput(f"{path}: its bands differ in shape")
            return np.stack([plane for plane, _ in read]), [sky for _, sky in read]
        hdu = the_one(path, science)
        shape = shape_of(path, hdu)
        if len(shape) == 4 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) != 3:
            raise BadInput(
                f"{path} holds one image of shape {shape}; {how_many(wanted)} bands are needed, a cube"
                f" ({len(wanted)}, height, width)"
            )
        order = plane_order(path, hdu.header, options.bands, shape, wanted)
        named_bands = options.bands is not None or stated_order(path, hdu.header, shape, wanted) is not None
        sky = replace(sky_of(hdu.header, *shape[1:]), names_bands=named_bands)
        return _pixels(path, hdu, options.unit).reshape(shape)[order], [sky]


def _plane(path: Path, band: str, options: PixelOptions) -> tuple[np.ndarray, Sky]:
    with open_images(path) as images:
        hdu = the_one(path, science_images(path, images, options.ext), band, options.wanted)
        says = band_of(hdu.header, options.wanted)
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
    card = card_of(unit)
    if card is not None:
        found = zero_point(hdu.header, card)
        if found is None:
            raise BadInput(f"{path} has no zero point in its card {card}, which --unit names")
        stated = f"zp={found:.10g}"
    if not stated:
        way = offered(hdu.header)
        raise BadInput(f"{path} does not say in which unit its pixels are (BUNIT): name it with --unit{way}")
    if hdu.header.get("BITPIX") == 8 and hdu.data.dtype.kind == "u":
        raise BadInput(f"{path} holds bytes, as pictures for display do, which are no fluxes")
    try:
        factor = nanomaggies(stated, path)
    except BadInput as error:
        raise BadInput(f"{error}{offered(hdu.header)}") from None
    pixels: np.ndarray = hdu.data * np.float64(factor)
    return pixels


def crop(image: np.ndarray, name: str, side: int = SIDE) -> np.ndarray:
    """The middle `side` x `side` pixels of (..., height, width); of an odd margin the far side loses more.

    Raises:
        BadInput: naming it: it is not square, or smaller.
    """
    height, width = image.shape[-2:]
    if height != width:
        raise BadInput(
            f"{name} is {height} x {width} pixels: a cut-out that is not square is not centred on its galaxy"
        )
    if height < side:
        raise BadInput(f"{name} is {height} x {width} pixels; {side} x {side} are needed")
    start = (height - side) // 2
    return image[..., start : start + side, start : start + side]


def _checked(image: np.ndarray, paths: Sequence[Path], bands: Sequence[str]) -> np.ndarray:
    with np.errstate(over="ignore"):
        pixels = image.astype(np.float32)
    good = PIXEL.measured(pixels)
    if not good.all():
        band = int(np.argmin(good.all(axis=(1, 2))))
        path = paths[band] if len(paths) > 1 else paths[0]
        values = pixels[band][~good[band]]
        are = f"{len(values):,} pixels are" if len(values) > 1 else "1 pixel is"
        if not np.isfinite(values).all():
            raise BadInput(f"{path}: {are} NaN or infinite in the band {bands[band]}")
        raise BadInput(f"{path}: {are} not plausible in the band {bands[band]}: one {PIXEL.why_not(float(values[0]))}")
    return pixels

"""A galaxy's cut-out from FITS files, as the model takes it: five bands, 32 x 32 pixels, nanomaggies.

An object is one file (a cube of five planes, or five image extensions) or five, one a band. Larger images are cropped
about their centre, as the published set was (contract, "Data").
"""

import gzip
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract.sample import BAND_NAMES as BANDS
from inference.contract.sample import IMAGE_SHAPE
from inference.errors import BadInput
from tasks.survey.table_file import first_line
from tasks.survey.units import nanomaggies

SIDE = IMAGE_SHAPE[1]
UNIT = "nanomaggy"
# A cut-out is small, and a header may claim anything.
_MOST_PIXELS = 1 << 24  # five bands of 1,800 x 1,800
_MOST_BYTES = 1 << 28  # with errors, masks and whatever else is in the file
_MOST_EXTENSIONS = 100
_GZIP = b"\x1f\x8b"
_BAND_KEYWORDS = ("EXTNAME", "FILTER", "BAND", "FILTNAM")

Chunk = tuple[list[int], list[tuple[Path, ...]]]  # rows of a table, and each one's files
Cutouts = tuple[list[int], np.ndarray, list[tuple[int, str]]]


def read_cutouts(chunk: Chunk, unit: str | None = None, bands: str | None = None) -> Cutouts:
    """`read_cutout` of some rows: those that can be used, their images, and the others with what is wrong."""
    rows, images, faults = [], [], []
    for row, paths in zip(*chunk, strict=True):
        try:
            images.append(read_cutout(paths, unit, bands))
            rows.append(row)
        except BadInput as error:
            faults.append((row, str(error)))
    return rows, np.stack(images) if images else np.empty((0, *IMAGE_SHAPE), np.float32), faults


def read_cutout(paths: Sequence[Path], unit: str | None = None, bands: str | None = None) -> np.ndarray:
    """Read one object.

    Args:
        paths: one file, or five in the order u g r i z.
        unit: of the pixels, where a file does not say so in BUNIT.
        bands: the order of a cube's planes, where its header does not say so in BANDS; default ugriz.

    Returns:
        (5, 32, 32), float32, nanomaggies.

    Raises:
        BadInput: naming the file: unreadable, no image, a band is missing, another shape, an unknown unit, a pixel that
            is not finite.
    """
    if len(paths) == 1:
        image = _one_file(paths[0], unit, bands)
    else:
        planes = [_plane(path, unit) for path in paths]
        shapes = {plane.shape for plane in planes}
        if len(shapes) > 1:
            told = ", ".join(f"{path.name} {plane.shape}" for path, plane in zip(paths, planes, strict=True))
            raise BadInput(f"the bands of one object differ in shape: {told}")
        image = np.stack(planes)
    return _checked(_cropped(image, paths[0]), paths)


def _one_file(path: Path, unit: str | None, bands: str | None) -> np.ndarray:
    with _opened(path) as images:
        first = images[0]
        if first.header["NAXIS"] == 2 and len(images) >= len(BANDS):
            return _extensions(path, images, unit)
        shape = _shape(path, first)
        if len(shape) != 3:
            raise BadInput(f"{path} holds one image of shape {shape}; five bands are needed, a cube (5, height, width)")
        order = _order(path, first.header, bands, shape)
        return _pixels(path, first, unit)[order]


def _order(path: Path, header: Mapping[str, Any], bands: str | None, shape: tuple[int, ...]) -> list[int]:
    """Which plane is u, g, r, i, z."""
    told = header.get("BANDS", bands)
    if told is None:
        if shape[0] != len(BANDS):
            why = " (its axes are turned: the bands come first)" if shape[-1] == len(BANDS) else ""
            raise BadInput(f"{path} has the shape {shape}; (5, height, width) is needed{why}")
        return list(range(len(BANDS)))
    names = [name for name in str(told).replace(",", " ").lower() if not name.isspace()]
    missing = [band for band in BANDS if band not in names]
    if missing:
        raise BadInput(f"{path} holds the bands {''.join(names)!r:.40}; {' '.join(missing)} missing")
    if len(names) != shape[0]:
        why = " (its axes are turned: the bands come first)" if shape[-1] == len(names) else ""
        raise BadInput(f"{path} names {len(names)} bands and has the shape {shape}{why}")
    if len(set(names)) != len(names):
        raise BadInput(f"{path} names a band twice: {''.join(names)!r:.40}")
    return [names.index(band) for band in BANDS]


def _extensions(path: Path, images: Sequence[Any], unit: str | None) -> np.ndarray:
    named: dict[str, Any] = {}
    for hdu in images:
        words = (str(hdu.header.get(keyword, "")).strip().lower().removeprefix("sdss_") for keyword in _BAND_KEYWORDS)
        band = next((word for word in words if word in tuple(BANDS)), None)
        if band in named:
            raise BadInput(f"{path} holds the band {band} twice")
        if band is not None:
            named[band] = hdu
    missing = [band for band in BANDS if band not in named]
    if missing:
        raise BadInput(f"{path} has no extension for the band{'s' * (len(missing) > 1)} {' '.join(missing)}")
    planes = [_flat(path, named[band], unit) for band in BANDS]
    if len({plane.shape for plane in planes}) > 1:
        raise BadInput(f"{path}: its bands differ in shape")
    return np.stack(planes)


def _plane(path: Path, unit: str | None) -> np.ndarray:
    with _opened(path) as images:
        return _flat(path, images[0], unit)


def _flat(path: Path, hdu: Any, unit: str | None) -> np.ndarray:
    shape = _shape(path, hdu)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2:
        raise BadInput(f"{path} has the shape {shape}; the image of one band (height, width) is needed")
    return _pixels(path, hdu, unit).reshape(shape)


def _shape(path: Path, hdu: Any) -> tuple[int, ...]:
    shape = tuple(int(side) for side in hdu.shape)
    if len(shape) > 4:
        raise BadInput(f"{path} holds an image of {len(shape)} axes; a cut-out has two or three")
    if math.prod(shape) > _MOST_PIXELS:
        raise BadInput(f"{path} has the shape {shape}; a cut-out has at most {_MOST_PIXELS:,} pixels")
    return shape


def _pixels(path: Path, hdu: Any, unit: str | None) -> np.ndarray:
    """The image in nanomaggies."""
    told = str(hdu.header.get("BUNIT", "")).strip() or unit
    if not told:
        raise BadInput(f"{path} does not say in which unit its pixels are (BUNIT): name it with --unit")
    pixels: np.ndarray = hdu.data * np.float64(nanomaggies(told, path))
    return pixels


def _cropped(image: np.ndarray, path: Path) -> np.ndarray:
    """The middle 32 x 32 pixels; of an odd margin the larger part is cut off at the far side."""
    height, width = image.shape[1:]
    if height != width:
        raise BadInput(
            f"{path} is {height} x {width} pixels: a cut-out that is not square is not centred on its galaxy"
        )
    if height < SIDE:
        raise BadInput(f"{path} is {height} x {width} pixels; {SIDE} x {SIDE} are needed")
    start = (height - SIDE) // 2
    return image[:, start : start + SIDE, start : start + SIDE]


def _checked(image: np.ndarray, paths: Sequence[Path]) -> np.ndarray:
    with np.errstate(over="ignore"):
        pixels = image.astype(np.float32)
    bad = ~np.isfinite(pixels)
    if bad.any():
        band = int(np.argmax(bad.any(axis=(1, 2))))
        path = paths[band] if len(paths) > 1 else paths[0]
        count = int(bad[band].sum())
        are = "pixels are" if count > 1 else "pixel is"
        raise BadInput(f"{path}: {count:,} {are} NaN or infinite in the band {BANDS[band]}")
    return pixels


@contextmanager
def _opened(path: Path) -> Iterator[list[Any]]:
    """The file's images; what goes wrong while they are read names the file.

    It is read whole and only so far: the library would follow a header's claims, or a packed file, to any size.
    """
    from astropy.io import fits

    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            data = (gzip.GzipFile(fileobj=file) if packed else file).read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise BadInput(f"{path} holds more than {_MOST_BYTES:,} bytes, which is no cut-out")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that bend the standard, of which there are many
            with fits.open(io.BytesIO(data)) as units:
                found = [
                    hdu for hdu in islice(units, _MOST_EXTENSIONS) if hdu.is_image and hdu.header.get("NAXIS", 0) > 0
                ]
                if not found:
                    raise BadInput(f"{path} holds no image")
                yield found
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"there is no cut-out {path}") from None
    except Exception as error:  # noqa: BLE001 - what a damaged header does to its reader is anyone's guess
        raise BadInput(f"{path} is no FITS file, or damaged: {first_line(error)}") from None

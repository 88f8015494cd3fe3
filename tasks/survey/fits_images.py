"""Which images of a FITS file are the sky's light, and in which bands.

Asked are the cards EXTNAME, EXTTYPE, HDUCLAS2, HDUCLAS3 and IMAGETYP for what an image is, and EXTNAME, FILTER and BAND
for its band. Several candidates are named, never chosen from.
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

from inference.errors import BadInput
from tasks.survey.band_names import USUAL, split_bands
from tasks.survey.cutout_files import band_in, is_science
from tasks.survey.damaged_file import first_line, refuse_what_is_no_file

# A cut-out is small, and a header may claim anything.
MOST_PIXELS = 1 << 24  # five bands of 1,800 x 1,800
MOST_BYTES = 1 << 28  # with errors, masks and whatever else is in the file
_MOST_EXTENSIONS = 100
_GZIP = b"\x1f\x8b"
_KIND_CARDS = (
    *("EXTNAME", "EXTTYPE", "HDUCLAS1", "HDUCLAS2", "HDUCLAS3", "IMAGETYP", "IMTYPE", "IMGTYPE", "OBSTYPE"),
    *("PRODTYPE", "DATATYPE"),
)
_BAND_CARDS = (
    *("EXTNAME", "FILTER", "BAND", "FILTNAM", "FILTER1", "FILTERS", "FILTER2", "FILTER01", "FILTER02", "FILT"),
    *("INSFILTE", "INSFILTER", "PASSBAND", "BANDPASS", "FILTERID", "FILTNAME", "BANDNAME"),
)


@contextmanager
def open_images(path: Path) -> Iterator[list[Any]]:
    """The file's image HDUs; what goes wrong while they are read names the file.

    It is read whole and only so far: the library would follow a header's claims, or a packed file, to any size.

    Raises:
        BadInput: it is absent, too large, no FITS file, damaged, or holds no image.
    """
    from astropy.io import fits

    refuse_what_is_no_file(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            data = (gzip.GzipFile(fileobj=file) if packed else file).read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise BadInput(f"{path} holds more than {MOST_BYTES:,} bytes, which is no cut-out")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that bend the standard, of which there are many
            with fits.open(io.BytesIO(data)) as units:
                found = [
                    hdu for hdu in islice(units, _MOST_EXTENSIONS) if hdu.is_image and hdu.header.get("NAXIS", 0) > 1
                ]
                if not found:
                    raise BadInput(f"{path} holds no image")
                yield found
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"there is no cut-out {path}") from None
    except Exception as error:  # noqa: BLE001 - what a damaged header does to its reader is anyone's guess
        raise BadInput(
            f"{path} is no FITS file, or damaged: copy it anew from where it was made ({first_line(error)})"
        ) from None


def science_images(path: Path, images: Sequence[Any], ext: str | None) -> list[Any]:
    """Those of the images that hold the sky's light.

    Raises:
        BadInput: there is none, or none called `ext`.
    """
    if ext is not None:
        found = [hdu for hdu in images if ext.lower() in {hdu.name.lower(), str(_number(hdu, images))}]
        if not found:
            raise BadInput(f"{path} has no image called {ext!r:.40} (--ext); it has {_shown(images)}")
        return found
    science = [hdu for hdu in images if all(is_science(word) for word in _words(hdu.header, _KIND_CARDS))]
    if not science:
        raise BadInput(f"{path} holds no image of the sky, only {_shown(images)}: choose one with --ext")
    return science


def band_of(header: Mapping[str, Any], bands: Sequence[str] = USUAL) -> str | None:
    """The band that an image says it is of; None where it does not say, or names none of `bands` and of u g r i z.

    >>> band_of({"FILTER": "r DECam SDSS c0002 6415.0"}), band_of({"EXTNAME": "SDSS_G"}), band_of({"FILTER": "Ks"})
    ('r', 'g', None)
    """
    known = {*USUAL, *bands}
    return next((band for word in _words(header, _BAND_CARDS) if (band := band_in(word, known))), None)


def by_band(
    path: Path, images: Sequence[Any], order: str | None = None, bands: Sequence[str] = USUAL
) -> dict[str, Any]:
    """The images of the bands, by what they say, or else in the order `order`.

    Raises:
        BadInput: one is missing, or there twice.
    """
    named: dict[str, Any] = {}
    said = [band_of(hdu.header, bands) for hdu in images]
    if order is not None and len(split_bands(order)) == len(images) and not any(said):
        return dict(zip(split_bands(order), images, strict=True))
    for hdu, band in zip(images, said, strict=True):
        if band in named:
            raise BadInput(f"{path} holds the band {band} twice ({_shown(images)}): choose with --ext")
        if band is not None:
            named[band] = hdu
    missing = [band for band in bands if band not in named]
    if missing:
        unsaid = "; its images name no bands: say their order with --bands" if not named else ""
        raise BadInput(f"{path} has no extension for the band{'s' * (len(missing) > 1)} {' '.join(missing)}{unsaid}")
    return named


def the_one(path: Path, images: Sequence[Any], band: str | None = None, bands: Sequence[str] = USUAL) -> Any:
    """The one image of a file, or the one of a band.

    Raises:
        BadInput: there are several.
    """
    if band is not None and len(images) > 1:
        images = [hdu for hdu in images if band_of(hdu.header, bands) == band] or images
    if len(images) > 1:
        raise BadInput(f"{path} holds {len(images)} images ({_shown(images)}): choose one with --ext")
    return images[0]


def shape_of(path: Path, hdu: Any) -> tuple[int, ...]:
    """An image's shape.

    Raises:
        BadInput: it has too many axes or pixels.
    """
    shape = tuple(int(side) for side in hdu.shape)
    if len(shape) > 4:
        raise BadInput(f"{path} holds an image of {len(shape)} axes; a cut-out has two or three")
    if math.prod(shape) > MOST_PIXELS:
        raise BadInput(f"{path} has the shape {shape}; a cut-out has at most {MOST_PIXELS:,} pixels")
    return shape


def _words(header: Mapping[str, Any], cards: Sequence[str]) -> Iterator[str]:
    return (str(header.get(card, "")).strip().lower() for card in cards if card in header)


def _number(hdu: Any, images: Sequence[Any]) -> int:
    return next(number for number, other in enumerate(images) if other is hdu)


def _shown(images: Sequence[Any]) -> str:
    shown = [f"{number} {hdu.name or 'unnamed'} {tuple(hdu.shape)}" for number, hdu in enumerate(images[:8])]
    return ", ".join(shown)

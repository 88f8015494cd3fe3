"""Where on the sky a cut-out says that it lies, and how large its pixels are, from the cards of its header."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

SCALE = 0.396  # arcseconds a pixel of SDSS, which the published model was trained on
_ALIKE = 0.01  # relative difference of scales that is rounding
_NOMINAL = 0.05  # of a card that names an instrument's scale, which distortion and resampling change a little
_FAR = 1.0  # degrees from an object at which a telescope that was to see it does not point
_PER_DEGREE = {"": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0, "arcsec": 1 / 3600, "arcmin": 1 / 60}
_PER_DEGREE |= {"rad": 180 / math.pi, "mas": 1 / 3_600_000}
_SCALE_CARDS = (
    *("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "PLTSCALE", "PIXSCALX", "PIXSCL", "PIXELSCL", "PIXELSCA", "PSCALE"),
    *("CCDSCALE", "ARCSECPP"),
)
_WITH_UNIT = re.compile(r"\s*([0-9.eE+-]+)\s*(arcsec|arcmin|mas|deg|degrees?|rad)\w*(?:\s*(?:/|per)\s*pix\w*)?\s*")


@dataclass(frozen=True)
class Sky:
    """What a header says; None where it says nothing.

    Attributes:
        scale: arcseconds a pixel.
        centre: right ascension and declination of the image's centre, degrees, ICRS.
        frame: reference system and equinox of its header, as "FK5 2000".
        names_bands: whether it says of which bands it is.
        pointing: its cards RA and DEC, degrees: where a telescope pointed, or where an object lies.
        doubt: in what the header contradicts itself, as a clause.
    """

    scale: float | None = None
    centre: tuple[float, float] | None = None
    frame: str | None = None
    names_bands: bool = True
    pointing: tuple[float, float] | None = None
    doubt: str | None = None


def sky_of(header: Mapping[str, Any], height: int, width: int) -> Sky:
    """Read the cards of the world coordinate system (FITS standard 4.0, section 8), in the tangent plane's linear part.

    Cards that make no sense count as none: the pixels are what is wanted. Where these coordinates and a card that names
    the scale differ, the coordinates count: such a card often is of the instrument, before images were resampled.
    """
    pointing, (card, named) = _pointing(header), _named_scale(header)
    sky = _of_coordinates(header, height, width)
    if sky is None or sky.scale is None:
        return Sky(named, pointing=pointing)
    doubt = None
    if named is not None and abs(named - sky.scale) > _NOMINAL * sky.scale:
        doubt = (
            f"its world coordinates say pixels of {sky.scale:.4g} arcseconds, which count, and its card {card} says"
            f" {named:.4g}"
        )
    return replace(sky, pointing=pointing, doubt=doubt)


def _pointing(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """The cards RA and DEC, where they are degrees."""
    try:
        ra, dec = float(header["RA"]), float(header["DEC"])
    except (TypeError, ValueError, KeyError):
        return None
    return (ra, dec) if 0 <= ra <= 360 and abs(dec) <= 90 else None


def _named_scale(header: Mapping[str, Any]) -> tuple[str, float | None]:
    """The first card that names the scale, and arcseconds a pixel; None where there is none or it makes no sense."""
    card = next((card for card in _SCALE_CARDS if card in header), "")
    try:
        scale = _arcseconds(header[card])
    except (TypeError, ValueError, KeyError):
        return card, None
    return card, scale if math.isfinite(scale) and scale > 0 else None


def _of_coordinates(header: Mapping[str, Any], height: int, width: int) -> Sky | None:
    """What the world coordinates say; None where there are none."""
    try:
        matrix = _matrix(header)
        if matrix is None:
            return None
        (a, b), (c, d) = matrix
        scale = 3600 * math.sqrt(abs(a * d - b * c))
        if not (math.isfinite(scale) and scale > 0):
            return Sky()
    except (TypeError, ValueError, KeyError, OverflowError, ZeroDivisionError):
        return Sky()
    try:
        frame = _frame(header)
        return Sky(scale, _icrs(_centre(header, matrix, height, width), frame), frame)
    except (TypeError, ValueError, KeyError, OverflowError, ZeroDivisionError):
        return Sky(scale)  # the place makes no sense, the scale does


def _arcseconds(value: Any) -> float:
    """A card of a scale: a number of arcseconds, or with its unit, as "0.262 arcsec/pixel"."""
    found = _WITH_UNIT.fullmatch(value) if isinstance(value, str) else None
    return float(value) if found is None else float(found[1]) * 3600 * _PER_DEGREE[found[2]]


def _matrix(header: Mapping[str, Any]) -> list[list[float]] | None:
    """Degrees on the sky for each pixel along x and y."""
    units = [_PER_DEGREE[str(header.get(f"CUNIT{axis}", "")).strip().lower()] for axis in (1, 2)]
    names = [[f"{{}}{row}_{column}" for column in (1, 2)] for row in (1, 2)]
    if any(name.format("CD") in header for row in names for name in row):
        return [
            [unit * float(header.get(name.format("CD"), 0)) for name in row]
            for unit, row in zip(units, names, strict=True)
        ]
    turned = any(name.format("PC") in header for row in names for name in row)
    if not turned and ("CDELT1" not in header or "CDELT2" not in header):
        return None
    steps = [unit * float(header.get(f"CDELT{axis}", 1)) for axis, unit in zip((1, 2), units, strict=True)]
    same = [[1.0, 0.0], [0.0, 1.0]]
    return [
        [step * float(header.get(name.format("PC"), same[row][column])) for column, name in enumerate(names[row])]
        for row, step in enumerate(steps)
    ]


def _centre(header: Mapping[str, Any], matrix: Sequence[Sequence[float]], height: int, width: int) -> Any:
    """Longitude and latitude of the image's centre, in its own frame."""
    kinds = (str(header.get("CTYPE1", ""))[:4].strip("-"), str(header.get("CTYPE2", ""))[:4].strip("-"))
    if kinds not in {("RA", "DEC"), ("GLON", "GLAT")}:
        return None
    x, y = ((side + 1) / 2 - float(header[f"CRPIX{axis}"]) for axis, side in ((1, width), (2, height)))
    east, north = (row[0] * x + row[1] * y for row in matrix)
    latitude = float(header["CRVAL2"]) + north
    longitude = (float(header["CRVAL1"]) + east / math.cos(math.radians(latitude))) % 360
    return (longitude, latitude) if math.isfinite(longitude) and abs(latitude) <= 90 else None


def _icrs(place: tuple[float, float] | None, frame: str | None) -> tuple[float, float] | None:
    """A place of a frame in ICRS, which tables are taken to be in; None where the frame is not known."""
    if place is None or frame in {None, "ICRS"}:
        return place
    from astropy import units
    from astropy.coordinates import FK4, FK5, Galactic, SkyCoord
    from astropy.time import Time

    name, _, equinox = str(frame).partition(" ")
    if name == "FK4":
        system: Any = FK4(equinox=Time(float(equinox or 1950), format="byear"))
    elif name == "FK5":
        system = FK5(equinox=Time(float(equinox or 2000), format="jyear"))
    elif name == "galactic":
        system = Galactic()
    else:
        return None
    found = SkyCoord(*place, unit=units.deg, frame=system).icrs
    return (float(found.ra.deg), float(found.dec.deg))


def _frame(header: Mapping[str, Any]) -> str | None:
    if str(header.get("CTYPE1", "")).startswith("GLON"):
        return "galactic"
    equinox = header.get("EQUINOX", header.get("EPOCH"))
    system = str(header.get("RADESYS", header.get("RADECSYS", ""))).strip().upper()
    if not system and equinox is None:
        return None
    system = system or ("FK4" if float(equinox) < 1984 else "FK5")
    # ICRS and FK5 at 2000 differ by hundredths of an arcsecond.
    return (
        "ICRS" if system in {"ICRS", "FK5"} and float(equinox or 2000) == 2000 else f"{system} {equinox or ''}".strip()
    )


def separation(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Arcseconds between two places, each right ascension and declination in degrees.

    >>> round(separation((359.9999, 0.0), (0.0001, 0.0)), 3)
    0.72
    """
    (a, b), (c, d) = ((math.radians(ra), math.radians(dec)) for ra, dec in (one, other))
    half = math.sin((d - b) / 2) ** 2 + math.cos(b) * math.cos(d) * math.sin((c - a) / 2) ** 2
    return 3600 * math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def disagreement(skies: Sequence[Sky]) -> str | None:
    """In what the bands of one object differ from each other, as a clause; None where they agree or do not say."""
    scales = [sky.scale for sky in skies if sky.scale is not None]
    if scales and not same_scale(min(scales), max(scales)):
        return f"its bands have pixels of {min(scales):.4g} and {max(scales):.4g} arcseconds"
    frames = sorted({sky.frame for sky in skies if sky.frame is not None})
    if len(frames) > 1:
        return f"its bands lie in different reference frames, {' and '.join(frames)}"
    centres = [sky.centre for sky in skies if sky.centre is not None]
    if centres and scales:
        apart = max(separation(centres[0], centre) for centre in centres)
        if apart > 2 * scales[0]:
            return f"its bands have their centres {apart:.1f} arcseconds apart"
    return None


def same_scale(one: float, other: float) -> bool:
    """Whether two scales differ by rounding alone.

    >>> same_scale(0.396, 0.3961), same_scale(0.396, 0.262)
    (True, False)
    """
    return abs(one - other) <= _ALIKE * max(one, other)


def doubt(sky: Sky, place: tuple[float, float] | None) -> str | None:
    """What in a cut-out's header may be wrong and is no reason to refuse it, as a clause.

    Args:
        sky: of the cut-out.
        place: of the object in the table, where known.
    """
    if sky.doubt is not None or place is None or sky.centre is not None or sky.pointing is None:
        return sky.doubt
    apart = separation(sky.pointing, place) / 3600
    if apart <= _FAR:
        return None
    return f"its cards RA and DEC lie {apart:.3g} degrees from the table's {place[0]:.5f} {place[1]:+.5f}"


def mismatch(
    sky: Sky, scale: float, place: tuple[float, float] | None, side: int, whose: str = "the model's"
) -> str | None:
    """What in a cut-out's header is not as it should be, as a clause; None where it agrees or does not say.

    Args:
        sky: of the cut-out.
        scale: what the model was trained on, arcseconds a pixel.
        place: of the object in the table, where known.
        side: of the cut-out as the model sees it, pixels.
        whose: who said that scale, as the words go before "are".
    """
    if sky.scale is not None and not same_scale(sky.scale, scale):
        return (
            f"its pixels are {sky.scale:.4g} arcseconds wide and {whose} are {scale:.4g}: resample it, or say"
            f" --scale {sky.scale:.4g}, or --model FILE, for a model that was trained on such pixels"
        )
    if place is not None and sky.centre is not None:
        apart = separation(sky.centre, place)
        reach = side / 2 * (sky.scale or scale)
        if apart > reach:
            frame = f" (from {sky.frame})" if sky.frame not in {None, "ICRS"} else ""
            return (
                f"it is centred on {sky.centre[0]:.5f} {sky.centre[1]:+.5f}{frame}, {apart:.1f} arcseconds from the"
                f" table's {place[0]:.5f} {place[1]:+.5f}"
            )
    return None

"""Units as catalogues and images spell them."""

import math
import re
from functools import lru_cache
from pathlib import Path

from inference.errors import BadInput

# The first is what messages call it.
MAGNITUDES = ("mag", "mags", "magnitude", "magnitudes", "AB", "ABmag", "AB mag", "mag(AB)", "mag (AB)", "mag_AB")
DEGREES = ("deg", "degree", "degrees")
ANGLES = {  # degrees in one
    **dict.fromkeys(("rad", "radian", "radians"), 180 / math.pi),
    **dict.fromkeys(("hourangle", "hour", "hours", "h"), 15.0),
}
NO_UNIT = ("", "dimensionless", "redshift", "none", "-", "---")
_SPELLINGS = {
    **dict.fromkeys(("nanomaggies", "nanomaggy", "nmgy", "nmaggy", "nmaggies", "nmgys", "nanomgy"), "nmgy"),
    **dict.fromkeys(("maggies", "maggy", "mgy"), "mgy"),
    **dict.fromkeys(("microjansky", "microjanskys", "ujy", "mujy", "microjy"), "uJy"),
    **dict.fromkeys(("nanojansky", "nanojanskys", "njy", "nanojy"), "nJy"),
    **dict.fromkeys(("jansky", "janskys", "jy"), "Jy"),
    "mjy": "mJy",
}
# Counts by the AB magnitude of one, as `zp=25.0`.
_ZERO_POINT = re.compile(r"(?:zp|zero_?point)\s*[= ]\s*(\d{1,2}(?:\.\d+)?)", re.IGNORECASE)
# A power of ten before a unit: "1e-9 maggies", "10**-9 maggies", "10^-9 maggies".
_POWER = re.compile(r"(?:1(?:\.0*)?e|10(?:\*\*|\^))([+-]?\d{1,2})[ *]+(\w+)", re.IGNORECASE)
_A_PIXEL = re.compile(r"\s*(?:/|\bper\b)\s*(?:pix|pixel|pixels)\s*$|\s+pix(?:el)?-1\s*$", re.IGNORECASE)


def nanomaggies(unit: str, where: Path | str) -> float:
    """How many nanomaggies one of a unit is, by the AB system's zero point; "a pixel" changes nothing.

    >>> nanomaggies("nanomaggies/pixel", "x.fits")
    1.0

    Raises:
        BadInput: naming where it stands: it is no unit of flux density.
    """
    factor = _factor(unit)
    if factor is None:
        raise BadInput(
            f"{where} has pixels in {unit!r:.40}, which is no unit of flux: nanomaggies or janskys are, or"
            " the AB magnitude of one count, as --unit zp=25"
        )
    return factor


def is_unit(text: str) -> bool:
    """Whether a text is a unit of magnitudes, angles or fluxes.

    >>> is_unit("AB mag"), is_unit("uJy"), is_unit("model")
    (True, True, False)
    """
    named = text.lower() in {each.lower() for each in (*MAGNITUDES, *DEGREES, *ANGLES)}
    return named or (text != "" and _factor(text) is not None)


@lru_cache(maxsize=64)
def _factor(text: str) -> float | None:
    """Nanomaggies in one of the unit; None where it is no unit of flux density."""
    zero_point = _ZERO_POINT.fullmatch(text.strip())
    if zero_point is not None:
        return float(10 ** (0.4 * (22.5 - float(zero_point[1]))))
    from astropy import units
    from astropy.units import photometric

    bare = _A_PIXEL.sub("", text[:100]).strip()
    power = _POWER.fullmatch(bare)
    if power is not None and power[2].lower() in _SPELLINGS:
        one = _factor(power[2])
        return None if one is None else one * 10.0 ** int(power[1])
    try:
        with units.add_enabled_units(photometric):
            unit = units.Unit(_SPELLINGS.get(bare.lower(), bare))
            return float(
                (1.0 * unit).to(units.Unit("nmgy"), equivalencies=units.zero_point_flux(1.0 * units.ABflux)).value
            )
    except (ValueError, TypeError, units.UnitConversionError):
        return None

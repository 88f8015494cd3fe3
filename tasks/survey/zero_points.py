"""The AB magnitude of one count: what cards of an image's header say of it, as observatories and pipelines write it."""

import math
import re
from collections.abc import Mapping
from typing import Any

MAGNITUDES = (
    *("MAGZERO", "MAGZPT", "MAGZP", "MAGZEROP", "MAG_ZERO", "MAG_ZP", "MAG0", "ABMAGZP", "ZPAB", "PHOTZP", "PHOTZPT"),
    *("ZP", "ZPT", "ZEROPT", "ZEROPNT", "ZEROPOINT", "ZERO_PT", "ZPOINT", "ZPMAG", "SCALEZP", "FPA.ZP"),
)
FLUXES = ("FLUXMAG0", "FLUX0")  # counts of an object of magnitude 0
# A unit that names the card: `zp=MAGZERO`.
_CARD = re.compile(r"(?:zp|zero_?point)\s*[= ]\s*([A-Za-z][A-Za-z0-9_.-]{0,70})", re.IGNORECASE)


def card_of(unit: str | None) -> str | None:
    """The card that a unit names.

    >>> card_of("zp=MAGZERO"), card_of("zp=25.0"), card_of("nanomaggy")
    ('MAGZERO', None, None)
    """
    found = _CARD.fullmatch((unit or "").strip())
    return None if found is None else found[1].upper()


def zero_point(header: Mapping[str, Any], card: str) -> float | None:
    """The AB magnitude of one count by one card; None where it holds no such number.

    >>> zero_point({"MAGZERO": "25.0"}, "MAGZERO"), zero_point({"FLUXMAG0": 1e10}, "FLUXMAG0")
    (25.0, 25.0)
    """
    try:
        value = float(header[card])
    except (KeyError, TypeError, ValueError):
        return None
    if card in FLUXES:
        value = 2.5 * math.log10(value) if math.isfinite(value) and value > 0 else math.nan
    return value if 0 < value < 60 else None


def offered(header: Mapping[str, Any]) -> str:
    """How to say a unit of counts, as the end of a sentence: by the header's own zero point where it has one.

    >>> offered({"MAGZPT": 27.0})
    '; its card MAGZPT is 27: --unit zp=MAGZPT takes each image by it, if that is the AB magnitude of one count'
    """
    for card in (*MAGNITUDES, *FLUXES):
        value = zero_point(header, card)
        if value is not None:
            shown = f"{card} is {value:g}" if card not in FLUXES else f"{card} makes {value:.6g}"
            return (
                f"; its card {shown}: --unit zp={card} takes each image by it, if that is the AB magnitude of one count"
            )
    return ""

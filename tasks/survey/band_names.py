"""Names of bands, as people write them: `griz`, `g,r,i,z` or `VIS,Y,J,H`."""

import re

from inference.contract.sample import BAND_NAMES
from inference.errors import BadInput

USUAL = tuple(BAND_NAMES)
_BY_WAVELENGTH = "ugrizy"
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")


def split_bands(text: str) -> list[str]:
    """The names in a list: between commas or blanks, or each letter one.

    >>> split_bands("zirgu"), split_bands("g, r"), split_bands("VIS,Y")
    (['z', 'i', 'r', 'g', 'u'], ['g', 'r'], ['vis', 'y'])
    """
    words = [word for word in re.split(r"[,;\s]+", text.lower()) if word]
    return words if len(words) > 1 or "," in text else list("".join(words))


def checked_bands(text: str, option: str) -> tuple[str, ...]:
    """The bands that an option names.

    Raises:
        BadInput: naming the option: none, one of them twice, or more than 64.
    """
    names = tuple(split_bands(text))
    if not 0 < len(names) <= 64 or len(set(names)) < len(names) or not all(name.isalnum() for name in names):
        raise BadInput(f"{option} must name bands, each once, as griz or VIS,Y,J,H, not {text!r:.60}")
    return names


def by_wavelength(names: tuple[str, ...]) -> tuple[str, ...]:
    """The bands from blue to red where all are of u g r i z y; others as they are.

    >>> by_wavelength(("z", "r", "g")), by_wavelength(("vis", "j", "h"))
    (('g', 'r', 'z'), ('vis', 'j', 'h'))
    """
    return tuple(sorted(names, key=_BY_WAVELENGTH.index)) if set(names) <= set(_BY_WAVELENGTH) else names


def how_many(names: tuple[str, ...]) -> str:
    """Their number as a word.

    >>> how_many(("g", "r", "i", "z"))
    'four'
    """
    return _NUMBERS[len(names)] if len(names) < len(_NUMBERS) else str(len(names))

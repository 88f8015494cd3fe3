"""Which plane of a FITS cube is which band, by what its header says; cards that contradict each other are refused."""

import re
from collections.abc import Mapping, Sequence
from itertools import product, takewhile
from pathlib import Path
from typing import Any

from inference.errors import BadInput
from tasks.survey.band_names import USUAL, split_bands
from tasks.survey.column_families import families
from tasks.survey.cutout_files import band_in
from tasks.survey.fits_images import band_of

_OF_BANDS = ("BANDS", "FILTERS")
_LISTS = (*_OF_BANDS, "BAND", "FILTER", "FILTNAM", "BANDNAME")
_NUMBERED = ("BAND", "FILTER", "FILT", "CHANNEL", "CHAN", "PLANE", "LAYER", "SLICE")
_WAVELENGTHS = ("WAVE", "WAVELEN", "WAVEL", "WAVELEN_", "LAMBDA", "LAM", "CWL", "CENTWAV", "WLEN")


def plane_order(
    path: Path,
    header: Mapping[str, Any],
    order: str | None,
    shape: tuple[int, ...],
    bands: Sequence[str] = USUAL,
) -> list[int]:
    """Which plane of a cube is which of the bands.

    Args:
        path: names the file in messages.
        header: BANDS, or BAND0, BAND1, ..., say the order.
        order: the planes' bands, whatever the header says.
        shape: of the cube.
        bands: those that are wanted.

    Raises:
        BadInput: a band is missing or there twice, two cards contradict each other, or the names do not fit the shape.
    """
    names = split_bands(order) if order is not None else stated_order(path, header, shape, bands)
    turned = " (its axes are turned: the bands come first)"
    if names is None:
        if shape[0] != len(bands):
            why = turned if shape[-1] == len(bands) else ""
            raise BadInput(f"{path} has the shape {shape}; ({len(bands)}, height, width) is needed{why}")
        return list(range(len(bands)))
    missing = [band for band in bands if band not in names]
    if missing:
        raise BadInput(f"{path} holds the bands {''.join(names)!r:.40}; {' '.join(missing)} missing")
    if len(names) != shape[0]:
        why = turned if shape[-1] == len(names) else ""
        raise BadInput(f"{path} names {len(names)} bands and has the shape {shape}{why}")
    if len(set(names)) != len(names):
        raise BadInput(f"{path} names a band twice: {''.join(names)!r:.40}")
    return [names.index(band) for band in bands]


def stated_order(
    path: Path, header: Mapping[str, Any], shape: tuple[int, ...], bands: Sequence[str] = USUAL
) -> list[str] | None:
    """The bands of a cube's planes as its header names them; None where it does not.

    Raises:
        BadInput: two cards contradict each other, it names one band, or its planes run from red to blue.
    """
    numbered = _numbered_bands(header, bands)
    listed = next((names for card in _LISTS if (names := _listed(card, header, bands))), None)
    if not numbered and not listed:  # no card that is known: any other that names each band once
        texts = (header[card] for card in header if isinstance(header[card], str))
        others = (_named_in(text, bands) for text in texts)
        listed = next((names for names in others if len(bands) > 1 and sorted(names) == sorted(bands)), None)
    if numbered and listed and numbered != listed:
        raise BadInput(
            f"{path} contradicts itself: one card says {''.join(listed)!r:.40} and its cards BAND0, BAND1, ... are"
            f" {' '.join(numbered)!r:.40}: say the order with --bands"
        )
    names = listed or numbered
    if names is None and shape[0] == len(bands):
        one = band_of(header, bands)
        if one is not None and len(bands) > 1:
            raise BadInput(f"{path} says that it is of the band {one} and has {shape[0]} planes: say --bands")
        kind, step = str(header.get("CTYPE3", ""))[:4], float(header.get("CDELT3", header.get("CD3_3", 0)) or 0)
        falls = (kind in {"WAVE", "AWAV"} and step < 0) or (kind in {"FREQ", "ENER", "WAVN"} and step > 0)
        card = "CTYPE3" if falls else _falling_wavelengths(header, len(bands))
        if card is not None:
            raise BadInput(
                f"{path} has its planes from long to short wavelengths ({card}): say their order with --bands"
            )
        remark = _remark(header, bands)
        if remark is not None and remark[1] != list(bands):
            raise BadInput(
                f"{path} has no card for the order of its planes, and a remark: {remark[0]!r:.80}: say it with --bands"
                f" {','.join(remark[1])}, or {','.join(bands)}"
            )
        names = None if remark is None else remark[1]
    return names


def _falling_wavelengths(header: Mapping[str, Any], count: int) -> str | None:
    """The first of the cards WAVE1, WAVE2, ... that hold wavelengths of so many planes, where these fall."""
    for first, stem in product((0, 1), _WAVELENGTHS):
        cards = [f"{stem}{number}" for number in range(first, first + count)]
        values = [header[card] for card in cards if isinstance(header.get(card), int | float)]
        if len(values) == count > 1 and values == sorted(values, reverse=True) and values[0] != values[-1]:
            return cards[0]
    return None


def _remark(header: Mapping[str, Any], bands: Sequence[str]) -> tuple[str, list[str]] | None:
    """What a COMMENT or HISTORY card says of the bands, if one names each of them once, and in which order."""
    for text in (str(text) for card in ("COMMENT", "HISTORY") for text in header.get(card, ())):
        words = [word for word in re.split(r"[^A-Za-z0-9]+", text.lower()) if word]
        named = [band for word in words if (band := band_in(word, bands))]
        spelled = next((list(word) for word in words if sorted(word) == sorted(bands)), [])
        for order in (named, spelled):
            if len(bands) > 1 and sorted(order) == sorted(bands):
                return text.strip(), order
    return None


def _numbered_bands(header: Mapping[str, Any], bands: Sequence[str]) -> list[str] | None:
    """What BAND0, BAND1, ... or BAND_1, BAND_2, ... call the planes, a letter each where they say one."""
    known = {*USUAL, *bands}
    for stem, joint, first in product(_NUMBERED, ("", "_"), (0, 1)):
        cards = [f"{stem}{joint}{number}" for number in range(first, first + 100)]
        there = [str(header[card]) for card in takewhile(header.__contains__, cards)]
        if len(there) > 1:
            return [band_in(word, known) or word.strip().lower() for word in there]
    if len(bands) < 2:
        return None
    # Cards of any other name, with a number or a letter behind it, that name each band once.
    for cards in _alike(header).values():
        names = [band_in(str(header[card]), known) or "" for card in cards]
        if sorted(names) == sorted(bands):
            return names
    # Cards that are called as the bands and hold their places, from 0 or 1.
    for named in families(list(header), bands):
        places = [header[card] for card in named]
        if all(type(place) is int for place in places) and sorted(places) in (
            list(range(len(bands))),
            list(range(1, len(bands) + 1)),
        ):
            return [band for _, band in sorted(zip(places, bands, strict=True))]
    return None


def _named_in(text: str, bands: Sequence[str]) -> list[str]:
    """The bands that a text names, a word or a letter each, in its order."""
    words = re.split(r"[,;:/|+>\s]+", text)
    named = [band for word in words if (band := band_in(word, {*USUAL, *bands}))]
    return named or (split_bands(text) if len(words) == 1 else [])


def _alike(header: Mapping[str, Any]) -> dict[str, list[str]]:
    """The cards of text that are alike but for a number or a letter at their end, in its order, by their stem."""
    found: dict[str, list[tuple[int, str]]] = {}
    for card in header:
        parts = re.fullmatch(r"([A-Z_-]+?)(\d{1,2}|(?<=[A-Z]{3})[A-Z]|(?<=[_-])[A-Z])", card)
        if parts is not None and isinstance(header[card], str):
            place = int(parts[2]) if parts[2].isdecimal() else ord(parts[2])
            found.setdefault(parts[1], []).append((place, card))
    return {stem: [card for _, card in sorted(cards)] for stem, cards in found.items()}


def _listed(card: str, header: Mapping[str, Any], bands: Sequence[str]) -> list[str] | None:
    """The bands that one card lists, as "zirgu", "z,i,r,g,u" or "sdss_z sdss_i ..."; None where it does not."""
    text = str(header.get(card, "")).strip()
    words = [word for word in re.split(r"[,;:/|+>\s]+", text) if word]
    if len(words) == 1 and len(parts := re.split("-+", text)) > 2:  # `z-i-r-g-u`, and not `sdss-r`
        words = parts
    named = [band_in(word, {*USUAL, *bands}) or word.lower() for word in words]
    if len(words) > 1 and (card in _OF_BANDS or set(bands) <= set(named)):
        return named
    if len(words) == 1 and (card in _OF_BANDS or (len(bands) > 1 and set(text.lower()) >= set(bands))):
        return named if len(bands) == 1 or not set(named).isdisjoint(bands) else split_bands(text)
    return None

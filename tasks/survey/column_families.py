"""Columns of magnitudes under other names than the customary ones: the same but for the band, for every band."""

import re
from collections.abc import Sequence

_MAGNITUDE = re.compile(r"mag|(?:^|[^a-z])m(?:$|[^a-z])|(?:^|[^a-z])ab(?:$|[^a-z])", re.IGNORECASE)
_NO_MAGNITUDE = re.compile(
    r"err|sig|unc|rms|std|var|snr|s2n|flag|flux|ext|dust|ebv|lim|depth|zero|zp|aper_?corr|(?:^|[^a-z])(?:e|d|a|n)(?:$|[^a-z])",
    re.IGNORECASE,
)
# What stands behind a name in a table for people: its unit, or its source.
_BRACKETS = re.compile(r"\s*[\[({](?!\d+[\])}])[^\[\](){}]*[\])}]\s*$")


def without_unit(name: str) -> str:
    """A name without what stands in brackets behind it.

    >>> without_unit("RA [deg]"), without_unit("MODELMAG[2]")
    ('RA', 'MODELMAG[2]')
    """
    return _BRACKETS.sub("", name)


def bracketed(name: str) -> str:
    """What stands in brackets behind a name.

    >>> bracketed("RA [deg]"), bracketed("MODELMAG[2]")
    ('deg', '')
    """
    found = _BRACKETS.search(name)
    return "" if found is None else found[0].strip()[1:-1].strip()


def families(names: Sequence[str], bands: Sequence[str]) -> list[list[str]]:
    """Columns whose names are the same but for the band, one for each of the bands, in their order.

    >>> families(["id", "psf_u_AB", "psf_g_AB", "psf_r_AB"], "ug")
    [['psf_u_AB', 'psf_g_AB']]

    Args:
        names: all columns.
        bands: in lower case.
    """
    found: dict[tuple[str, str, bool], dict[str, str]] = {}
    for name in names:
        folded = name.lower()
        for band in bands:
            for start in (place.start() for place in re.finditer(re.escape(band), folded)):
                end = start + len(band)
                alone = not (folded[:start][-1:].isalpha() or folded[end : end + 1].isalpha())
                if alone or len(bands) >= 4:
                    way = (name[:start], name[end:], name[start:end].isupper())
                    found.setdefault(way, {}).setdefault(band, name)
    return [[each[band] for band in bands] for each in found.values() if len(each) == len(bands)]


def are_magnitudes(columns: Sequence[str], bands: Sequence[str]) -> bool:
    """Whether the names of a family tell of magnitudes, or of nothing but the bands.

    >>> are_magnitudes(["u' [mag]", "g' [mag]"], "ug"), are_magnitudes(["e_umag", "e_gmag"], "ug")
    (True, False)
    """
    bare = re.sub(r"[^a-z0-9]", "", without_unit(columns[0]).lower()) == bands[0]
    return bare or (_MAGNITUDE.search(columns[0]) is not None and can_be_magnitudes(columns))


def can_be_magnitudes(columns: Sequence[str]) -> bool:
    """Whether the names of a family tell of nothing else, as errors and fluxes.

    >>> can_be_magnitudes(["LSST_u", "LSST_g"]), can_be_magnitudes(["flux_u", "flux_g"])
    (True, False)
    """
    return _NO_MAGNITUDE.search(columns[0]) is None

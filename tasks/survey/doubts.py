"""What is doubtful about a column that was read: numbers that look as another quantity's, as sentences."""

from collections.abc import Iterable, Sequence

import numpy as np

from inference.contract.plausible import Quantity

_FEWEST = 5  # values; fewer may be alike by chance
_NEAREST = -0.003  # no galaxy of the Local Group approaches faster
_BRIGHT, _FAINT = 10.0, 30.0  # medians of a catalogue of galaxies lie between
_RADIANS = (2 * np.pi, np.pi / 2)  # as far as right ascension and declination go
_EXTINCTIONS = ("mw_transmission_{}", "extinction_{}", "a_{}", "ext_{}", "{}_extinction", "ebv", "e_bv", "e(b-v)")


def redshift_doubts(column: str, values: np.ndarray, quantity: Quantity) -> list[str]:
    """Redshifts that are velocities, 1 + z, or further towards us than any galaxy moves.

    >>> from inference.contract.plausible import REDSHIFT
    >>> redshift_doubts("zsp", np.array([1.1, 1.2, 1.3, 1.15, 1.4]), REDSHIFT)
    ['every value of zsp is above 1, with a median of 1.2: is it 1 + z?']

    Args:
        column: its name.
        values: (N,), as they are.
        quantity: which values count.
    """
    measured = quantity.measured(values)
    good = values[measured]
    outside = values[np.isfinite(values) & ~measured & ((values <= quantity.low) | (values >= quantity.high))]
    outside = outside[~quantity.is_mark(outside)]
    doubts = []
    if len(outside):
        velocity = ": velocities in km/s?" if np.median(np.abs(outside)) > 100 else ""
        doubts.append(
            f"{len(outside):,} of {len(values):,} values of {column} are no redshifts, such as {outside[0]:.6g}, and"
            f" count as unknown{velocity}"
        )
    if len(good) >= _FEWEST and good.min() >= 1 and np.median(good) < 2:
        doubts.append(f"every value of {column} is above 1, with a median of {np.median(good):.2g}: is it 1 + z?")
    zeros = int((good == 0).sum())
    if zeros >= _FEWEST:
        doubts.append(
            f"{zeros:,} of {len(values):,} values of {column} are exactly 0 and count: where they mean unknown, leave"
            " their cells empty"
        )
    negative = int((good < _NEAREST).sum())
    if negative:
        doubts.append(f"{negative:,} of {len(values):,} values of {column} are negative, down to {good.min():.3g}")
    return doubts


def magnitude_doubts(columns: Sequence[str], magnitudes: np.ndarray) -> list[str]:
    """Magnitudes that are too bright or too faint for galaxies, as fluxes in another unit give.

    Args:
        columns: their names, one a band.
        magnitudes: (N, bands), NaN where unknown.
    """
    if len(magnitudes) < _FEWEST:
        return []
    known = [(name, values[np.isfinite(values)]) for name, values in zip(columns, magnitudes.T, strict=True)]
    medians = [(name, float(np.median(values))) for name, values in known if len(values) >= _FEWEST]
    odd = [f"{median:.1f} from {name}" for name, median in medians if not _BRIGHT < median < _FAINT]
    return [f"magnitudes have a median of {', '.join(odd)}: another unit or zero point?"] if odd else []


def place_doubts(ra: np.ndarray, dec: np.ndarray) -> list[str]:
    """Places that look as radians, or as hours.

    Args:
        ra: right ascensions, (N,), taken as degrees, NaN where unknown.
        dec: declinations, alike.
    """
    known = np.isfinite(ra) & np.isfinite(dec)
    if known.sum() < _FEWEST:
        return []
    width, height = np.ptp(ra[known]), np.ptp(dec[known])
    if ra[known].max() <= _RADIANS[0] and np.abs(dec[known]).max() <= _RADIANS[1] and width > 2:
        return ["all places lie within 6.3 and 1.6 degrees of 0: are they radians? The table can state the unit"]
    if ra[known].min() >= 0 and ra[known].max() <= 24 and width > 12 and height > 20:
        return ["every right ascension is below 24: are they hours? The table can state the unit"]
    return []


def dust_doubts(used: Iterable[str], there: Iterable[str], bands: Sequence[str]) -> list[str]:
    """Magnitudes beside which the table has the Galaxy's extinction, that nobody subtracted."""
    if any("dered" in name.lower() for name in used):
        return []
    folded = {name.lower(): name for name in there}
    for pattern in _EXTINCTIONS:
        names = [pattern.format(band) for band in bands]
        if all(name in folded for name in names):
            shown = folded[names[0]] if len(set(names)) == 1 else f"{folded[names[0]]} ... {folded[names[-1]]}"
            return [f"the magnitudes are as observed: {shown} tells of the Galaxy's dust, and is not applied"]
    return []

"""Do images and magnitudes belong together: each band's flux, summed over its cut-outs, beside the table's magnitudes.

Bands in another order, another unit or zero point, and cut-outs of other objects have no other sign, and none of them
is an error that a reader of files could find.
"""

from collections.abc import Sequence

import numpy as np

from inference.contract.sample import BAND_NAMES

_FEWEST = 5  # objects: a bright neighbour may be in the cut-out of one
_MOST = 1.0  # magnitudes; a cut-out of 13 arcseconds holds all but a few hundredths of most galaxies' light
_ZERO_POINT = 22.5  # AB magnitude of one nanomaggy


class Photometry:
    """Collects the ratio of image flux to catalogue flux, batch after batch."""

    def __init__(self, bands: Sequence[str] = BAND_NAMES) -> None:
        self._bands = bands
        self._ratios: list[np.ndarray] = []
        self._seen: dict[int, int] = {}
        self._twins = 0

    def add(self, images: np.ndarray, magnitudes: np.ndarray) -> None:
        """Look at some galaxies: images (B, bands, S, S) in nanomaggies, magnitudes (B, bands), AB."""
        with np.errstate(all="ignore"):
            expected = 10 ** (0.4 * (_ZERO_POINT - magnitudes))
            self._ratios.append(images.sum(axis=(2, 3), dtype=np.float64) / expected)
        for image in images:
            key = hash(image.tobytes())
            self._twins += key in self._seen
            self._seen[key] = 1

    def notes(self) -> list[str]:
        """What a person should know; nothing where images and magnitudes agree."""
        notes = []
        if self._twins:
            are = "image is" if self._twins == 1 else "images are"
            notes.append(f"{self._twins:,} {are} the same as an earlier object's, pixel for pixel")
        ratios = np.concatenate(self._ratios) if self._ratios else np.empty((0, len(self._bands)))
        if len(ratios) < _FEWEST:
            return notes
        with np.errstate(all="ignore"):
            fainter = -2.5 * np.log10(np.maximum(np.nanmedian(ratios, axis=0), 1e-9))
        wrong = [(band, off) for band, off in zip(self._bands, fainter.tolist(), strict=True) if abs(off) > _MOST]
        if wrong:
            shown = ", ".join(
                f"{abs(off):.1f} mag {'fainter' if off > 0 else 'brighter'} in {band}" for band, off in wrong
            )
            notes.append(
                f"at the median the images are {shown} than their magnitudes say: bands in another order, another"
                " unit or zero point, or cut-outs of other objects?"
            )
        return notes

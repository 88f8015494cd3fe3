"""What a model was trained on, in its checkpoint's header, and which galaxies are unlike that.

Each fact is optional: a checkpoint without them is as valid, and no galaxy is then called out of domain.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from inference.contract.survey_facts import SurveyFacts
from inference.contract.validation import is_number, shorten
from inference.errors import BadInput

_TAIL = 0.0005  # share of the training galaxies beyond either end of a range
_FAINTEST = 1e-3  # of a cut-out's flux, in its own unit: noise may make the sum of a faint one negative
REDSHIFT = "redshift"


@dataclass(frozen=True, kw_only=True)
class TrainingData(SurveyFacts):
    """What a model was trained on: the facts of its survey, and the ranges of its galaxies.

    Attributes:
        ranges: of each feature (`features`) and of the redshift, (low, high), which 99.9 % of the training galaxies
            lie in.

    Raises:
        BadInput: naming the fact that is wrong.
    """

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.ranges, Mapping) or len(self.ranges) > 1000:
            raise BadInput("ranges must be an object of at most 1,000 ranges")
        for name, ends in self.ranges.items():
            if not (isinstance(ends, tuple) and len(ends) == 2 and all(map(is_number, ends)) and ends[0] <= ends[1]):
                raise BadInput(
                    f"the range of {shorten(name)} must be two numbers, the lower first, not {shorten(ends)}"
                )

    def to_dict(self) -> dict[str, Any]:
        """The facts that are known, as a JSON object."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value and name != "image_size"}

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Read what `to_dict` wrote; unknown facts, of a later version, are left out.

        >>> TrainingData.from_dict({"bands": ["g", "r"], "pixel_scale": 0.262}).bands
        ('g', 'r')

        Raises:
            BadInput: not an object, or a wrong value; named.
        """
        if not isinstance(document, Mapping):
            raise BadInput(f"the training data must be an object, not {shorten(document)}")
        known = {one.name for one in dataclasses.fields(cls)}
        facts = {name: value for name, value in document.items() if name in known}
        if isinstance(facts.get("bands"), list):
            facts["bands"] = tuple(facts["bands"])
        if isinstance(facts.get("ranges"), Mapping):
            facts["ranges"] = {
                name: tuple(ends) if isinstance(ends, list) else ends for name, ends in facts["ranges"].items()
            }
        return cls(**facts)

    def with_ranges(self, images: np.ndarray, magnitudes: np.ndarray, redshifts: np.ndarray) -> Self:
        """The same facts with the ranges of a set of training galaxies.

        Args:
            images: (N, bands, S, S).
            magnitudes: (N, bands).
            redshifts: (N,).
        """
        values = features(images, magnitudes) | {REDSHIFT: redshifts}
        ends = {name: np.quantile(value, (_TAIL, 1 - _TAIL)).tolist() for name, value in values.items()}
        return dataclasses.replace(self, ranges={name: (low, high) for name, (low, high) in ends.items()})

    def out_of_domain(
        self, images: np.ndarray, magnitudes: np.ndarray, redshifts: np.ndarray | None = None
    ) -> np.ndarray:
        """Which galaxies are unlike those of the training: at least one feature lies outside its range.

        Args:
            images: (B, bands, S, S).
            magnitudes: (B, bands).
            redshifts: (B,), the model's predictions, compared with the redshifts of the training.

        Returns:
            (B,) booleans; all False where no ranges are known.
        """
        values = features(images, magnitudes) if self.ranges else {}
        if redshifts is not None:
            values[REDSHIFT] = redshifts
        outside = np.zeros(len(magnitudes), bool)
        for name, (low, high) in self.ranges.items():
            if name in values:
                outside |= ~((values[name] >= low) & (values[name] <= high))
        return outside


def features(images: np.ndarray, magnitudes: np.ndarray) -> dict[str, np.ndarray]:
    """A few numbers of each galaxy by which an unusual one shows; bands are numbered from 1.

    - `magnitude 1`...: as given.
    - `colour 1-2`...: differences of neighbouring bands.
    - `offset 1`...: the magnitude minus that of the whole cut-out, up to a constant. Another pixel unit, another pixel
      scale and an empty band show here.
    - `concentration`: flux of the central eighth of the cut-out's width over that of the central quarter. A star is
      more concentrated than a galaxy.

    Args:
        images: (B, bands, S, S).
        magnitudes: (B, bands).

    Returns:
        (B,) by name.
    """
    bands, size = images.shape[1:3]
    # Ten times as fast as a sum over two axes.
    flux = (images.reshape(-1, size * size) @ np.ones(size * size, np.float32)).reshape(-1, bands)
    offset = magnitudes + 2.5 * np.log10(np.maximum(flux, _FAINTEST))
    inner, outer = (
        images[:, :, size // 2 - half : size // 2 + half, size // 2 - half : size // 2 + half].sum((1, 2, 3))
        for half in (max(1, size // 16), max(2, size // 8))
    )
    values = {f"magnitude {band + 1}": magnitudes[:, band] for band in range(bands)}
    values |= {f"colour {band}-{band + 1}": magnitudes[:, band - 1] - magnitudes[:, band] for band in range(1, bands)}
    values |= {f"offset {band + 1}": offset[:, band] for band in range(bands)}
    return values | {"concentration": inner / np.where(outer > 0, outer, np.inf)}

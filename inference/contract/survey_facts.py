"""What a survey's cut-outs are, kept in its files: bands, pixel scale, pixel unit, magnitude system."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from inference.contract.json_text import parse_json
from inference.contract.validation import is_number, shorten
from inference.errors import BadInput, BadPartition

_SCALES_ALIKE = 0.03  # relative difference of scales that a model does not notice


@dataclass(frozen=True, kw_only=True)
class SurveyFacts:
    """What the galaxies of a partition are; None where nobody said it.

    Attributes:
        bands: their names, in the order of the images' channels and of the magnitudes.
        pixel_scale: arcseconds a pixel.
        pixel_unit: of the images, such as "nanomaggy".
        magnitude_system: of the magnitudes, such as "AB".

    Raises:
        BadInput: naming the fact that is wrong.
    """

    bands: tuple[str, ...] | None = None
    pixel_scale: float | None = None
    pixel_unit: str | None = None
    magnitude_system: str | None = None

    def __post_init__(self) -> None:
        bands = self.bands
        if bands is not None and not (isinstance(bands, tuple) and 0 < len(bands) <= 64 and all(map(_is_name, bands))):
            raise BadInput(f"bands must be a list of 1 to 64 names, not {shorten(bands)}")
        if bands is not None and len(set(bands)) != len(bands):
            raise BadInput(f"bands must differ, not {shorten(bands)}")
        if self.pixel_scale is not None and not (is_number(self.pixel_scale, 0, 3600) and self.pixel_scale > 0):
            raise BadInput(f"pixel_scale must be arcseconds above 0, not {shorten(self.pixel_scale)}")
        for name in ("pixel_unit", "magnitude_system"):
            if getattr(self, name) is not None and not _is_name(getattr(self, name)):
                raise BadInput(f"{name} must be a short text, not {shorten(getattr(self, name))}")

    @classmethod
    def of_sdss_bands(cls, pixel_scale: float | None) -> Self:
        """The bands u g r i z in nanomaggies and AB magnitudes, as ingest and simulate write them."""
        return cls(bands=tuple("ugriz"), pixel_scale=pixel_scale, pixel_unit="nanomaggy", magnitude_system="AB")

    def to_json(self) -> str:
        """The facts that are known, as a file keeps them.

        >>> SurveyFacts(bands=("g", "r"), pixel_scale=0.262).to_json()
        '{"bands": ["g", "r"], "pixel_scale": 0.262}'
        """
        names = ("bands", "pixel_scale", "pixel_unit", "magnitude_system")
        return json.dumps({name: value for name in names if (value := getattr(self, name)) is not None})

    @classmethod
    def read(cls, text: str | bytes, name: str) -> Self:
        """Read what `to_json` wrote; unknown facts, of a later version, are left out.

        Raises:
            BadPartition: naming the file `name`: no JSON object, or a wrong value.
        """
        document = parse_json(text, f"{name}: its survey facts", BadPartition)
        if not isinstance(document, Mapping):
            raise BadPartition(f"{name}: its survey facts must be an object, not {shorten(document)}")
        facts: dict[str, Any] = {key: document[key] for key in cls.__dataclass_fields__ if key in document}
        if isinstance(facts.get("bands"), list):
            facts["bands"] = tuple(facts["bands"])
        try:
            return cls(**facts)
        except BadInput as error:
            raise BadPartition(f"{name}: {error}") from None


def differing_scales(one: float | None, other: float | None) -> bool:
    """Whether two pixel scales, both known, differ by more than a model does not notice.

    >>> differing_scales(0.396, 0.4), differing_scales(0.396, 0.262), differing_scales(None, 0.262)
    (False, True, False)
    """
    return one is not None and other is not None and abs(one - other) > _SCALES_ALIKE * max(one, other)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 40 and value.isprintable()

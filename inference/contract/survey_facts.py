"""What a survey's cut-outs are, kept in its files: bands, pixel scale, pixel unit, magnitude system."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from inference.contract.json_text import parse_json
from inference.contract.sample import IMAGE_SHAPE, R_BAND
from inference.contract.validation import is_number, shorten
from inference.errors import BadInput, BadPartition

_KEPT = ("bands", "pixel_scale", "pixel_unit", "magnitude_system")
_SCALES_ALIKE = 0.03  # relative difference of scales that a model does not notice
MAGNITUDE_PREFIX, R_MAGNITUDE = "mag_", "mag_r"  # columns of tables of redshifts
_NANOMAGGY = {"nanomaggy", "nanomaggies", "nmgy"}


@dataclass(frozen=True, kw_only=True)
class SurveyFacts:
    """What the galaxies of a partition are; None where nobody said it.

    Attributes:
        bands: their names, in the order of the images' channels and of the magnitudes.
        pixel_scale: arcseconds a pixel.
        pixel_unit: of the images, such as "nanomaggy".
        magnitude_system: of the magnitudes, such as "AB".
        image_size: height and width of the cut-outs in pixels where it is not 32; read off them, and not written.

    Raises:
        BadInput: naming the fact that is wrong.
    """

    bands: tuple[str, ...] | None = None
    pixel_scale: float | None = None
    pixel_unit: str | None = None
    magnitude_system: str | None = None
    image_size: int | None = None

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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Bands, height and width of a cut-out."""
        side = self.image_size or IMAGE_SHAPE[1]
        return (len(self.bands) if self.bands else IMAGE_SHAPE[0], side, side)

    @property
    def reference_band(self) -> int:
        """Which band's magnitude stands for the galaxy's: r, or the middle one where there is no r."""
        if self.bands is None:
            return R_BAND
        return self.bands.index("r") if "r" in self.bands else len(self.bands) // 2

    @property
    def magnitude_column(self) -> str:
        """What tables of redshifts call the magnitude of the reference band.

        >>> SurveyFacts().magnitude_column, SurveyFacts(bands=("g", "i", "z")).magnitude_column
        ('mag_r', 'mag_i')
        """
        if self.bands is None:
            return R_MAGNITUDE
        return MAGNITUDE_PREFIX + re.sub(r"\W", "_", self.bands[self.reference_band], flags=re.ASCII)

    def to_json(self) -> str:
        """The facts that are known, as a file keeps them.

        >>> SurveyFacts(bands=("g", "r"), pixel_scale=0.262).to_json()
        '{"bands": ["g", "r"], "pixel_scale": 0.262}'
        """
        return json.dumps({name: value for name in _KEPT if (value := getattr(self, name)) is not None})

    @classmethod
    def read(cls, text: str | bytes, name: str) -> Self:
        """Read what `to_json` wrote; unknown facts, of a later version, are left out.

        Raises:
            BadPartition: naming the file `name`: no JSON object, or a wrong value.
        """
        document = parse_json(text, f"{name}: its survey facts", BadPartition)
        if not isinstance(document, Mapping):
            raise BadPartition(f"{name}: its survey facts must be an object, not {shorten(document)}")
        facts: dict[str, Any] = {key: document[key] for key in _KEPT if key in document}
        if isinstance(facts.get("bands"), list):
            facts["bands"] = tuple(facts["bands"])
        try:
            return cls(**facts)
        except BadInput as error:
            raise BadPartition(f"{name}: {error}") from None


@dataclass(frozen=True)
class Difference:
    """In what galaxies are not as a model knows them, in words.

    Attributes:
        found: what the galaxies have, as "pixels of 0.262 arcseconds".
        trained: what the model was trained on.
        way: what can be done.
    """

    found: str
    trained: str
    way: str


def difference(found: SurveyFacts, trained: SurveyFacts) -> Difference | None:
    """The first difference between the facts that both galaxies and model state; None where there is none.

    >>> difference(SurveyFacts(bands=tuple("grizy")), SurveyFacts(bands=tuple("ugriz"))).found
    'the bands g r i z y'
    """
    scale, wanted = found.pixel_scale, trained.pixel_scale
    if scale is not None and wanted is not None and differing_scales(scale, wanted):
        way = "resample the images, choose a model of that scale"
        return Difference(f"pixels of {scale:.4g} arcseconds", f"{wanted:.4g}", way)
    if found.bands and trained.bands and found.bands != trained.bands:
        way = "choose a model of those bands"
        return Difference(f"the bands {' '.join(found.bands)}", " ".join(trained.bands), way)
    if not _same_unit(found.pixel_unit, trained.pixel_unit):
        way = "cut them anew with cosmic partition, which converts units of flux"
        return Difference(f"pixels in {found.pixel_unit}", str(trained.pixel_unit), way)
    if not _same_unit(found.magnitude_system, trained.magnitude_system):
        return Difference(f"{found.magnitude_system} magnitudes", str(trained.magnitude_system), "convert them")
    return None


def differing_scales(one: float | None, other: float | None) -> bool:
    """Whether two pixel scales, both known, differ by more than a model does not notice.

    >>> differing_scales(0.396, 0.4), differing_scales(0.396, 0.262), differing_scales(None, 0.262)
    (False, True, False)
    """
    return one is not None and other is not None and abs(one - other) > _SCALES_ALIKE * max(one, other)


def _same_unit(one: str | None, other: str | None) -> bool:
    """Whether two units are one, or one of them is not known."""
    if one is None or other is None:
        return True
    return one.casefold() == other.casefold() or {one.casefold(), other.casefold()} <= _NANOMAGGY


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 40 and value.isprintable()

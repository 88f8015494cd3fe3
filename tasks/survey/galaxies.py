"""Galaxies of one file of arrays, in whatever shape, order and type people keep them, as partitions have them.

Nothing is converted before it is needed: batch after batch becomes float32, (B, 5, 32, 32) by default.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inference.contract.counted import listed
from inference.contract.plausible import REDSHIFT
from inference.contract.sample import IMAGE_SHAPE
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput
from inference.partitions.faults import find_faults
from inference.partitions.partition import Batch
from tasks.survey.array_roles import ROLES, Values, array_for, arrays_shown, order_of, refuse_pictures
from tasks.survey.band_names import USUAL
from tasks.survey.blank_bands import find_blank_bands
from tasks.survey.cutouts import crop
from tasks.survey.doubts import redshift_doubts
from tasks.survey.photometry import Photometry

_AS_THEY_ARE = tuple(range(len(USUAL)))
_STEP = 512  # galaxies that are looked at together
_NAMED = 5  # bad galaxies that an error names; the others it counts


@dataclass(frozen=True)
class Galaxies:
    """Galaxies as a file has them.

    Attributes:
        name: of the file, for messages.
        images: (N, bands, S, S), or (N, S, S, bands) where `channels_last`.
        magnitudes: (N, bands).
        redshifts: (N,) or (N, 1), or None.
        order: where the bands that come out stand among the images'.
        magnitude_order: where they stand among the magnitudes.
        factor: nanomaggies in a unit of the pixels.
        notes: what a person should know.
        shape: bands, height and width of the galaxies that come out.
        rows: those that are used, ascending; None for all.
        facts: of the survey, of images in `order` and magnitudes in `magnitude_order`; None where nothing is known.
        from_column: the redshifts are a table's column, whose doubts are among the notes.
        release: called after each batch, to let go of pages of a mapped file.
    """

    name: str
    images: Values
    magnitudes: Values
    redshifts: Values | None
    channels_last: bool = False
    order: tuple[int, ...] = _AS_THEY_ARE
    magnitude_order: tuple[int, ...] = _AS_THEY_ARE
    factor: float = 1.0
    notes: tuple[str, ...] = ()
    shape: tuple[int, int, int] = IMAGE_SHAPE
    rows: np.ndarray | None = None
    facts: SurveyFacts | None = None
    from_column: bool = False
    release: Callable[[], None] = field(default=lambda: None, compare=False)

    def __len__(self) -> int:
        return self.images.shape[0] if self.rows is None else len(self.rows)

    def batches(self, size: int) -> Iterator[Batch]:
        """Walk through the galaxies; magnitudes and redshifts are float64 unless the file has float32."""
        if size < 1:
            raise BadInput(f"the batch size must be at least 1, not {size}")
        for start in range(0, len(self), size):
            if self.rows is None:
                part, within = slice(start, min(start + size, len(self))), slice(None)
            else:
                rows = self.rows[start : start + size]
                part, within = slice(int(rows[0]), int(rows[-1]) + 1), rows - rows[0]
            images = np.asarray(self.images[part])[within]
            if self.channels_last:
                images = np.moveaxis(images, -1, 1)
            if self.order != tuple(range(images.shape[1])):
                images = images[:, list(self.order)]
            pixels = crop(images, self.name, self.shape[1]).astype(np.float32)
            if self.factor != 1:
                pixels *= np.float32(self.factor)
            redshifts = None if self.redshifts is None else _floats(self.redshifts[part])[within].reshape(-1)
            magnitudes = _floats(self.magnitudes[part])[within]
            if self.magnitude_order != tuple(range(magnitudes.shape[1])):
                magnitudes = np.ascontiguousarray(magnitudes[:, list(self.magnitude_order)])
            yield Batch(start, np.ascontiguousarray(pixels), magnitudes, redshifts)
            self.release()

    def usable(self, *, skip_bad: bool = False, take_blank: bool = False) -> tuple["Galaxies", dict[int, str]]:
        """These galaxies without those that no model can take, and what is wrong with each of those, by its row.

        Where images and magnitudes do not fit one another, the galaxies' notes say so.

        Raises:
            BadInput: there are some and `skip_bad` is not set, or no other galaxies are left.
        """
        bad: dict[int, str] = {}
        bands = USUAL if self.facts is None or self.facts.bands is None else self.facts.bands
        photometry, redshifts = Photometry(bands), list[np.ndarray]()
        for batch in self.batches(_STEP):
            faults = {} if take_blank else find_blank_bands(batch.images, bands)
            faults |= find_faults(batch.images, batch.magnitudes, bands)
            bad |= {batch.start + row: why for row, why in sorted(faults.items())}
            # All by a slice, because a list of them would copy every image.
            good = np.setdiff1d(np.arange(len(batch.images)), list(faults)) if faults else slice(None)
            photometry.add(batch.images[good], batch.magnitudes[good])
            if batch.redshifts is not None:
                redshifts.append(batch.redshifts)
        known = np.concatenate([np.empty(0), *redshifts])
        doubts = [] if self.from_column else redshift_doubts("the redshifts", known, REDSHIFT)
        noted = replace(self, notes=(*self.notes, *doubts, *photometry.notes()))
        if not bad:
            return noted, bad
        named = listed((f"sample {row}: {why}" for row, why in bad.items()), most=_NAMED, joint="; ")
        if not skip_bad or len(bad) == len(self):
            way = "leave them out with --skip-bad" if not skip_bad else "none is left"
            blank = " (--take-blank takes blank bands)" if any("its band" in why for why in bad.values()) else ""
            count = f"{len(bad):,} of {len(self):,} galaxies of {self.name} cannot be used"
            raise BadInput(f"{count}: {named}; {way}{blank}")
        return replace(noted, rows=np.setdiff1d(np.arange(len(self)), list(bad))), bad


def _floats(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def assemble(
    name: str,
    found: Mapping[str, Values],
    mapping: Mapping[str, str],
    bands: Sequence[str] | None = None,
    factor: float = 1.0,
    *,
    wanted: tuple[str, ...] = USUAL,
    side: int = IMAGE_SHAPE[1],
) -> Galaxies:
    """Galaxies from the arrays of a file.

    Args:
        name: of the file, for messages.
        found: arrays by their names in the file.
        mapping: names that somebody gave to images, magnitudes and redshifts.
        bands: of the planes, where the file says it.
        factor: nanomaggies in a unit of the pixels.
        wanted: the bands that come out.
        side: of the cut-outs that come out, pixels.

    Raises:
        BadInput: naming the file: an array is missing or could be one of two, or has another shape or type.
    """
    chosen = {role: array_for(name, role, found, mapping) for role in ROLES}
    notes = [f"{role} from {chosen[role]}" for role in ROLES if chosen[role] is not None and chosen[role] != role]
    refuse_pictures(name, found, mapping)
    for role in ("images", "magnitudes"):
        if chosen[role] is None:
            raise BadInput(f"{name} has no {role}: name the array with --map {role}=NAME; {arrays_shown(found)}")
    if chosen["redshifts"] is None:
        notes.append("no redshifts were found: --map redshifts=NAME names them")
    images, magnitudes = found[str(chosen["images"])], found[str(chosen["magnitudes"])]
    redshifts = None if chosen["redshifts"] is None else found[chosen["redshifts"]]
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise BadInput(f"{name}: images must have the shape (N, {len(wanted)}, S, S), not {shape}")
    planes = len(wanted if bands is None else bands)
    last = shape[1] != planes and shape[3] == planes
    if not last and shape[1] != planes:
        raise BadInput(f"{name}: images must have {planes} bands, as (N, {planes}, S, S), not the shape {shape}")
    as_they_are = tuple(range(len(wanted)))
    order = as_they_are if bands is None else order_of(name, bands, wanted)
    if order != as_they_are:
        notes.append(
            f"the images' bands are put in the order {' '.join(wanted)}; the magnitudes are taken to be in it already"
        )
    if last:
        notes.append("the bands come last in the images and are put first")
    given = shape[1] if last else shape[2]
    if given > side:
        notes.append(f"images of {given} x {given} pixels are cropped to their central {side} x {side}")
    if tuple(magnitudes.shape) != (shape[0], len(wanted)):
        raise BadInput(
            f"{name}: magnitudes must have the shape ({shape[0]}, {len(wanted)}), not {tuple(magnitudes.shape)}"
        )
    if redshifts is not None and tuple(redshifts.shape) not in {(shape[0],), (shape[0], 1)}:
        raise BadInput(f"{name}: redshifts must have the shape ({shape[0]},), not {tuple(redshifts.shape)}")
    if not shape[0]:
        raise BadInput(f"{name} holds no galaxies")
    for role, values in (("images", images), ("magnitudes", magnitudes), ("redshifts", redshifts)):
        kind = None if values is None else np.asarray(values[:1]).dtype
        if kind is not None and kind.kind not in "fiu":
            raise BadInput(f"{name}: {role} hold {kind}, which are no numbers")
        if kind is not None and role == "redshifts" and kind.kind != "f" and role not in mapping:
            raise BadInput(
                f"{name}: {chosen[role]} holds whole numbers, which are rather classes than redshifts: name the"
                " redshifts with --map redshifts=NAME"
            )
        if kind is not None and role == "images" and kind.newbyteorder("=") != np.float32:
            notes.append(f"images are {kind} and become float32")
    return Galaxies(
        name,
        images,
        magnitudes,
        redshifts,
        channels_last=last,
        order=order,
        magnitude_order=as_they_are,
        factor=factor,
        notes=tuple(notes),
        shape=(len(wanted), side, side),
    )

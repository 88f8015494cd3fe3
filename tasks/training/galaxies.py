"""The galaxies of many partitions as one set, any of them at hand; only those asked for are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.contract.counted import counted
from inference.contract.object_keys import natural_order
from inference.contract.plausible import REDSHIFT
from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput, BadPartition
from inference.partitions.access import open_access
from inference.partitions.faults import check_plausible
from inference.partitions.partition import Partition, open_partition
from inference.runs.plan import SUFFIXES, check_complete
from inference.storage.store import Store
from tasks.reporting.terminal import bar

_FEWEST = 10  # galaxies with a redshift: fewer cannot be split


@dataclass(frozen=True)
class Split:
    """Rows of a set, by what they are for; all but those for pre-training have a redshift.

    Attributes:
        pretraining: for the encoder alone, (A,).
        train: for the whole model, (B,), a part of `pretraining`.
        validation: for the metrics after each epoch, (C,); held out.
        test: for the final metrics, (D,); held out.
    """

    pretraining: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class GalaxySet:
    """Galaxies, numbered through all partitions.

    Attributes:
        magnitudes: (N, 5), float64, finite as float32.
        redshifts: (N,), float64, NaN where unknown.
        facts: of the survey, as the first partition states them.
        pixel_scales: arcseconds a pixel, of those partitions that say it, each once.

    Args:
        partitions: at least one.

    Raises:
        BadPartition: magnitudes that are not plausible, named by partition and sample; or a partition of other bands or
            cut-outs than the first.
    """

    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._partitions = list(partitions)
        self._ends = np.cumsum([len(part) for part in self._partitions])
        self.facts = self._partitions[0].facts or SurveyFacts()
        for part in self._partitions:
            shape, wanted = tuple(part.images.shape[1:]), self.image_shape
            if shape != wanted or list(part.bands) != list(self._partitions[0].bands):
                first = self._partitions[0]
                raise BadPartition(
                    f"{part.name} holds the bands {' '.join(part.bands)} in cut-outs of {shape[1]} pixels, and"
                    f" {first.name} {' '.join(first.bands)} of {wanted[1]}: train on one survey"
                )
        magnitudes = [np.asarray(part.magnitudes).astype(np.float64) for part in self._partitions]
        for part, values in zip(self._partitions, magnitudes, strict=True):
            check_plausible(part.name, 0, magnitudes=values, bands=part.bands)
        self.magnitudes = np.concatenate(magnitudes)
        scales = {part.facts.pixel_scale for part in self._partitions if part.facts is not None}
        self.pixel_scales = sorted(scale for scale in scales if scale is not None)
        nothing = [
            np.full(len(part), np.nan) if part.redshifts is None else np.asarray(part.redshifts, np.float64)
            for part in self._partitions
        ]
        redshifts = np.concatenate(nothing)
        self.redshifts = np.where(REDSHIFT.measured(redshifts), redshifts, np.nan)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Bands, height and width of a cut-out."""
        return self.facts.image_shape

    def images(self, rows: np.ndarray) -> np.ndarray:
        """The images of some rows, in their order: float32, (B, 5, 32, 32), a copy.

        Raises:
            BadPartition: one has pixels that are not plausible.
        """
        images = np.empty((len(rows), *self.image_shape), np.float32)
        parts = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(parts):
            chosen = parts == number
            first = self._ends[number] - len(self._partitions[number])
            images[chosen] = np.asarray(self._partitions[number].images)[rows[chosen] - first]
            part = self._partitions[number]
            check_plausible(part.name, rows[chosen] - first, images[chosen], bands=part.bands)
        return images

    def split(self, held_out: float, seed: int) -> Split:
        """Split by chance, the same way for the same number of galaxies and seed.

        Raises:
            BadInput: too few galaxies have a redshift.
        """
        known = np.isfinite(self.redshifts)
        if known.sum() < _FEWEST:
            raise BadInput(
                f"{counted(int(known.sum()), 'galaxy has', 'galaxies have')} a spectroscopic redshift;"
                f" at least {_FEWEST} are needed to train"
            )
        order = np.random.default_rng(seed).permutation(len(self))
        with_redshift = order[known[order]]
        count = max(round(held_out * len(with_redshift)), 2)
        held = with_redshift[:count]
        rest = np.setdiff1d(order, held)
        half = count // 2
        return Split(rest, rest[known[rest]], np.sort(held[:half]), np.sort(held[half:]))


def open_galaxies(data: str, store: Store) -> GalaxySet:
    """The galaxies of a partition, of a folder of partitions, or of `bucket/prefix` in the store.

    Partitions of a remote store are copied to the scratch folder; in memory are only those galaxies that are asked for.

    Raises:
        BadInput: nothing is there, or a partition cannot be used.
        StoreError: the store cannot be read.
    """
    place = Path(data)
    try:
        if place.is_file():
            return GalaxySet([open_partition(place, str(place))])
        if place.is_dir():
            folder = place.resolve()
            check_complete(Store(folder.parents[1]), folder.parent.name, folder.name)
            files = sorted(
                (p for p in place.iterdir() if p.name.endswith(SUFFIXES)), key=lambda p: natural_order(p.name)
            )
            parts = [open_partition(path, str(path)) for path in files]
        else:
            parts = _stored(data, store)
        if not parts:
            raise BadInput(f"there are no partitions (.pt or .safetensors) in {data}")
        return GalaxySet(parts)
    except BadPartition as error:
        raise BadInput(str(error)) from None


def _stored(data: str, store: Store) -> list[Partition]:
    bucket, _, prefix = data.partition("/")
    if not prefix or not store.has_bucket(bucket):
        raise BadInput(f"there is no file, folder or bucket/prefix {data}")
    check_complete(store, bucket, prefix)
    found = [stored for stored in store.list(bucket, prefix) if stored.key.endswith(SUFFIXES)]
    with bar("partitions", len(found)) as show:
        parts = []
        for stored in found:
            parts.append(open_access(store, bucket, stored.key, stored, "memory-map"))
            show(len(parts))
    return parts

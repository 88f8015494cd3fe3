"""Partitions: galaxies as images, magnitudes and, where known, redshifts, in one file.

A `.pt` partition is `torch.save(TensorDataset(images, magnitudes, redshifts))` (contract, "Data");
a `.safetensors` one holds three tensors of these names. Both are read lazily and without torch:
opening one reads a few hundred bytes, and the arrays are views of the mapped file.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from inference.contract.sample import BAND_NAMES, IMAGE_SHAPE, R_BAND
from inference.contract.survey_facts import R_MAGNITUDE, SurveyFacts
from inference.errors import BadInput, BadPartition
from inference.partitions import pt_file as torch_zip
from inference.partitions import safetensors_file as safetensors_map
from inference.partitions.faults import check_plausible
from inference.partitions.pt_writer import write_dataset
from inference.storage.atomic_write import atomic_write

_NAMES = ("images", "magnitudes", "redshifts")
_LARGEST_SIDE = 1024  # pixels
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Batch:
    """Galaxies `start` .. `start + B` of a partition.

    Attributes:
        start: index of the first one in the partition.
        images: float32, (B, 5, 32, 32), plausible.
        magnitudes: float32 or float64, (B, 5), plausible.
        redshifts: float32 or float64, (B,), not finite where unknown; None if there are none.
    """

    start: int
    images: np.ndarray
    magnitudes: np.ndarray
    redshifts: np.ndarray | None


class Images(Protocol):
    """What a partition asks of its images: an array, or images still on their way (`inference.partitions.access`)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 5, 32, 32)."""
        ...

    @property
    def dtype(self) -> "np.dtype[Any]":
        """float32."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class Partition:
    """A partition, checked for shapes and types; pixels are not read before `batches` needs them.

    Attributes:
        name: how the partition is called in messages.
        images: float32, (N, 5, 32, 32).
        magnitudes: float32 or float64, (N, 5).
        redshifts: float32 or float64, (N,), or None; given as (N, 1), they are taken as (N,).
        facts: of the survey, None where the file says nothing.

    A partition whose facts name its bands may have other ones than five, and cut-outs of another size than 32 x 32.

    Args:
        mapped: the mapping that the arrays are views of; `batches` lets go of pages it is done with.

    Raises:
        BadPartition: from the constructor, naming the partition: other shapes or types, unequal
            lengths, no galaxies.
    """

    def __init__(
        self,
        name: str,
        images: Images,
        magnitudes: np.ndarray,
        redshifts: np.ndarray | None = None,
        mapped: mmap.mmap | None = None,
        facts: SurveyFacts | None = None,
    ) -> None:
        bands, side, _ = shape = _image_shape(images, facts)
        own_size = None if side == IMAGE_SHAPE[1] else side
        self.name, self.facts = name, None if facts is None else replace(facts, image_size=own_size)
        _check(name, "images", images, f"float32 of shape (N, {bands}, {side}, {side})", shape)
        if images.dtype != np.float32:
            raise BadPartition(f"{name}: images must be float32, not {images.dtype}")
        _check(name, "magnitudes", magnitudes, f"float32 or float64 of shape (N, {bands})", (bands,))
        if redshifts is not None:
            if redshifts.ndim == 2 and redshifts.shape[1] == 1:
                redshifts = redshifts[:, 0]
            _check(name, "redshifts", redshifts, "float32 or float64 of shape (N,) or (N, 1)", ())
        lengths = {len(part) for part in (images, magnitudes, redshifts) if part is not None}
        if len(lengths) != 1:
            raise BadPartition(f"{name}: images, magnitudes and redshifts differ in length")
        if lengths == {0}:
            raise BadPartition(f"{name} holds no galaxies")
        self.images, self.magnitudes, self.redshifts = images, magnitudes, redshifts
        self._mapped = mapped

    def __len__(self) -> int:
        return len(self.images)

    @property
    def nbytes(self) -> int:
        """Bytes of model input, as the contract counts them: 20,520 a galaxy of 5 bands and 32 x 32 pixels."""
        bands, height, width = self.image_shape
        return len(self) * bands * (4 * height * width + 8)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Bands, height and width of a cut-out."""
        bands, height, width = self.images.shape[1:]
        return bands, height, width

    @property
    def bands(self) -> Sequence[str]:
        """Their names, in order."""
        return BAND_NAMES if self.facts is None or self.facts.bands is None else self.facts.bands

    @property
    def reference_band(self) -> int:
        """Which band's magnitude is kept with the redshifts (`SurveyFacts.reference_band`)."""
        return R_BAND if self.facts is None else self.facts.reference_band

    @property
    def magnitude_column(self) -> str:
        """What that magnitude's column is called (`SurveyFacts.magnitude_column`)."""
        return R_MAGNITUDE if self.facts is None else self.facts.magnitude_column

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Walk through the partition with one batch in memory at a time; the last may be smaller.

        Raises:
            BadInput: the batch size is not positive.
            BadPartition: naming the first galaxy whose pixels or magnitudes are not plausible.
        """
        if batch_size < 1:
            raise BadInput(f"the batch size must be at least 1, not {batch_size}")
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            images, magnitudes = _aligned(self.images[part]), _aligned(self.magnitudes[part])
            check_plausible(self.name, start, images, magnitudes, self.bands)
            redshifts = None if self.redshifts is None else _aligned(self.redshifts[part])
            yield Batch(start, images, magnitudes, redshifts)
            self.release_pages()

    def release_pages(self) -> None:
        """Let go of the pages of a mapped file that were read; they would add up to the file."""
        if self._mapped is not None:
            self._mapped.madvise(mmap.MADV_DONTNEED)


def _image_shape(images: Images, facts: SurveyFacts | None) -> tuple[int, int, int]:
    """The shape that cut-outs must have: 5 bands of 32 x 32 pixels, or what the facts name and the file has."""
    if facts is None or facts.bands is None or len(images.shape) != 4:
        return IMAGE_SHAPE
    side = images.shape[2] if 8 <= images.shape[2] <= _LARGEST_SIDE else IMAGE_SHAPE[1]
    return (len(facts.bands), side, side)


def _check(name: str, what: str, array: Images, wanted: str, shape: tuple[int, ...]) -> None:
    if len(array.shape) != 1 + len(shape) or array.shape[1:] != shape or array.dtype not in _FLOATS:
        raise BadPartition(f"{name}: {what} must be {wanted}, not {array.dtype} of shape {array.shape}")


def _aligned(array: np.ndarray) -> np.ndarray:
    return np.require(array, requirements=["A"])


def open_partition(source: Path | torch_zip.Buffer, name: str) -> Partition:
    """Map a partition; its content, not its name, tells the format.

    Args:
        source: a file, which is memory-mapped and must not be changed in place meanwhile, or its
            whole content.
        name: how the partition is called in messages.

    Raises:
        BadPartition: naming it: unreadable, truncated, neither `.pt` nor `.safetensors`, no
            galaxies, wrong shapes or types, or with anything in it that is no tensor.
    """
    buffer = _mapped(source, name) if isinstance(source, Path) else source
    if len(buffer) == 0:
        raise BadPartition(f"{name} is empty")
    if buffer[:4] == torch_zip.MAGIC:
        found = torch_zip.read_tensors(buffer, name)
        if len(found) not in {2, 3}:
            raise BadPartition(f"{name} holds {len(found)} tensors instead of images, magnitudes and redshifts")
        tensors = dict(zip(_NAMES, found, strict=False))
        note: str | bytes | None = torch_zip.read_facts(buffer)
    elif safetensors_map.has_header(buffer):
        tensors = safetensors_map.read_tensors(buffer, _NAMES, name)
        for missing in {"images", "magnitudes"} - tensors.keys():
            raise BadPartition(f"{name} has no tensor called {missing}")
        note = safetensors_map.read_facts(buffer, name)
    else:
        raise BadPartition(
            f"{name} is neither a zip as torch.save writes it nor a safetensors file:"
            " `cosmic partition` makes partitions of it"
        )
    mapped = None if isinstance(buffer, bytes) else buffer
    facts = None if note is None else SurveyFacts.read(note, name)
    return Partition(name, **tensors, mapped=mapped, facts=facts)


def _mapped(path: Path, name: str) -> torch_zip.Buffer:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise BadPartition(f"{name} is not a file")
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                return b""  # which cannot be mapped
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise BadPartition(f"cannot read {name}: {error.strerror}") from None


def split(survey: Partition, samples_each: int) -> Iterator[tuple[int, Batch]]:
    """Cut a survey into partitions, numbered from 1, with one at a time in memory.

    Raises:
        BadInput: a partition would have no galaxies.
        BadPartition: the survey has a galaxy that no model can take; the message names it.
    """
    return enumerate(survey.batches(samples_each), start=1)


def write_partition(
    path: Path,
    images: np.ndarray,
    magnitudes: np.ndarray,
    redshifts: np.ndarray | None,
    facts: SurveyFacts | None = None,
) -> None:
    """Write a partition, in the format of the path's suffix; the same arrays give the same bytes.

    The file appears under its name only when it is whole.

    Args:
        path: where to.
        images: float32, (N, 5, 32, 32).
        magnitudes: float32 or float64, (N, 5).
        redshifts: float32 or float64, (N,) or (N, 1), written as (N,), NaN where unknown; or None.
        facts: of the survey, kept in the file; None leaves them out.

    Raises:
        BadInput: the suffix is neither `.pt` nor `.safetensors`.
        BadPartition: the arrays have other shapes or types.
        StoreError: the file cannot be written.
    """
    part = Partition(str(path), images, magnitudes, redshifts, facts=facts)
    _check_suffix(path.suffix)
    with atomic_write(path) as partial, partial.open("xb") as file:
        _write(file, part, path.suffix)


def partition_bytes(
    images: np.ndarray,
    magnitudes: np.ndarray,
    redshifts: np.ndarray | None,
    suffix: str,
    facts: SurveyFacts | None = None,
) -> bytes:
    """What `write_partition` would write to a file with this suffix.

    Raises:
        BadInput: the suffix is neither `.pt` nor `.safetensors`.
        BadPartition: the arrays have other shapes or types.
    """
    _check_suffix(suffix)
    buffer = BytesIO()
    _write(buffer, Partition(f"the {suffix} partition", images, magnitudes, redshifts, facts=facts), suffix)
    return buffer.getvalue()


def _check_suffix(suffix: str) -> None:
    if suffix not in {".pt", ".safetensors"}:
        raise BadInput(f"a partition is written as .pt or .safetensors, not {suffix!r:.40}")


def _write(file: IO[bytes], part: Partition, suffix: str) -> None:
    arrays = {
        name: np.require(array, requirements=["C"]) for name in _NAMES if (array := getattr(part, name)) is not None
    }
    note = None if part.facts is None else part.facts.to_json()
    if suffix == ".safetensors":
        from safetensors.numpy import save

        file.write(save(arrays, None if note is None else {safetensors_map.FACTS: note}))
    else:
        write_dataset(file, list(arrays.values()), note)

"""What people save with torch.save: data sets, tuples, dicts, lists of samples, subsets, of tensors or numpy arrays.

Read by torch's own weights-only unpickler, which builds no object but tensors, containers and the few classes named
here; the plain form, which partitions have, is read without torch (`inference.partitions.pt_file`).
"""

import contextlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.contract.tensor_layout import check_layout
from inference.errors import BadInput
from inference.model.require_torch import require_torch
from tasks.survey.array_roles import Values, by_shape
from tasks.survey.damaged_file import ContentRefused, first_line

BAND_NAMES = (
    *("image_band", "image_bands", "bands", "band", "band_names", "filters", "filter_names", "filter", "channels"),
    "channel_names",
)
SCALE_NAMES = ("image_scale", "pixel_scale", "pixscale", "pixel_scale_arcsec", "pixel_size", "pixsize", "scale")
UNIT_NAMES = ("unit", "units", "pixel_unit", "image_unit", "image_units", "flux_unit", "bunit")
_MOST_SAMPLES = 10_000_000


def read_saved(path: Path) -> tuple[dict[str, Values], dict[str, Any]]:
    """The arrays of a file of torch.save, by their names, or by what their shapes say; and what is stated beside them.

    Raises:
        BadInput: naming the file: torch is not installed; damaged, or it holds something else than arrays of galaxies.
    """
    require_torch(f"{path} is no plain partition, and another file of torch.save")
    import torch

    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        _refuse_packed(path)
    with torch.serialization.safe_globals(_allowed()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protocols of pickle that torch itself does not write
        try:
            root = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip or None)
        except pickle.UnpicklingError as error:
            wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
            why = "its pickle is damaged"
            if not is_zip and not _is_of_torch(path):
                why = "it is a pickle that torch.save did not write, and is not run: save the arrays with numpy.savez"
            if wanted:
                why = f"its pickle wants {wanted[1]:.80}, which is refused and was not run"
            raise BadInput(f"{path} is no file of galaxies: {why}") from None
        except Exception as error:  # noqa: BLE001 - what a damaged pickle does to its reader is anyone's guess
            raise BadInput(f"{path} is no readable torch.save file: {first_line(error)}") from None
    try:
        return _arrays(path, root), stated_beside(root if isinstance(root, Mapping) else {})
    except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        raise BadInput(f"{path} holds no arrays of galaxies: {first_line(error)}") from None


def stated_beside(things: Mapping[Any, Any]) -> dict[str, Any]:
    """The bands' order, the pixel scale and the unit, where a file states them beside its arrays, in any case.

    >>> stated_beside({"bands": "zirgu", "Pixel_Scale": "0.262", "epoch": 3})
    {'bands': ['z', 'i', 'r', 'g', 'u'], 'scale': 0.262}
    """
    named = {str(name).lower(): value for name, value in things.items()}
    stated: dict[str, Any] = {}
    for value in (named[name] for name in BAND_NAMES if name in named):
        words = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(words, str) and re.search(r"[,;\s]", words.strip()):
            words = [word for word in re.split(r"[,;\s]+", words) if word]
        if isinstance(words, str | list | tuple) and words and all(isinstance(word, str | bytes) for word in words):
            stated.setdefault("bands", [word.decode() if isinstance(word, bytes) else word for word in words])
    for value in (named[name] for name in SCALE_NAMES if name in named):
        if isinstance(value, bool) or (hasattr(value, "ndim") and value.ndim):
            continue
        with contextlib.suppress(TypeError, ValueError):
            if 0 < (scale := float(value)) < 3600:
                stated.setdefault("scale", scale)
    for value in (named[name] for name in UNIT_NAMES if name in named):
        text = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        if isinstance(text, str) and text.strip():
            stated.setdefault("unit", text.strip())
    return stated


def _allowed() -> list[Any]:
    """Classes that hold arrays; none of them runs anything when it is made."""
    from torch.utils.data import Subset, TensorDataset

    kinds = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}
    rebuilds = [(_empty_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    scalars = [(_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    ranges = [(range, "builtins.range"), (range, "__builtin__.xrange")]
    return [TensorDataset, Subset, np.ndarray, np.dtype, *kinds, *rebuilds, *scalars, *ranges]


def _is_of_torch(path: Path) -> bool:
    """Whether a file without a zip begins with the number that torch.save writes first (`MAGIC_NUMBER`)."""
    with path.open("rb") as file:
        return (0x1950A86A20F9469CFC6C).to_bytes(10, "little") in file.read(32)


def _empty_array(kind: type, shape: object, code: object) -> np.ndarray:
    """What an array is before its state arrives; the shape asked for here is not believed."""
    return np.ndarray.__new__(np.ndarray, (0,), "f4")


def _scalar(dtype: np.dtype[Any], data: bytes = b"") -> Any:
    return np.frombuffer(data, dtype, 1)[0]


def _refuse_packed(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > path.stat().st_size:
                raise BadInput(f"{path} is no file of torch.save, which never compresses an entry")


def _arrays(path: Path, root: Any) -> dict[str, Values]:
    from torch.utils.data import Subset, TensorDataset

    indices: np.ndarray | None = None
    while isinstance(root, Subset):
        if len(root.indices) > _MOST_SAMPLES:
            raise BadInput(f"{path} is a subset of more than {_MOST_SAMPLES:,} galaxies")
        chosen = np.asarray([int(index) for index in root.indices])
        indices = chosen if indices is None else chosen[indices]
        root = root.dataset
    if isinstance(root, TensorDataset):
        root = root.tensors
    named: dict[str, Values]
    if isinstance(root, Mapping):
        arrays = {str(key): _array(value) for key, value in root.items() if _is_array(value)}
        arrays |= {str(key): np.asarray(value) for key, value in root.items() if _is_list_of_numbers(value)}
        nested = [value for value in root.values() if _may_hold_arrays(value)]
        if not arrays and len(nested) == 1:
            return _arrays(path, nested[0])
        named = arrays
    elif isinstance(root, Sequence) and root and all(map(_is_array, root)) and _dims(root[0]) >= 1:
        named = by_shape(str(path), [_array(value) for value in root])
    elif isinstance(root, list | tuple) and root and len(root) <= _MOST_SAMPLES:
        named = _of_samples(path, root)
    else:
        raise BadInput(f"{path} holds {type(root).__name__}, and no arrays of galaxies")
    if indices is not None:
        if len(indices) == 0 or indices.min() < 0:
            raise BadInput(f"{path} is a subset of no galaxies")
        named = {key: np.asarray(value[0 : value.shape[0]])[indices] for key, value in named.items()}
    return named


def _of_samples(path: Path, samples: Sequence[Any]) -> dict[str, Values]:
    """A list of samples, each a tuple or a dict of one galaxy's arrays and numbers."""
    first = samples[0]
    if isinstance(first, Mapping):
        keys = [str(key) for key in first if _is_array(first[key]) or isinstance(first[key], int | float)]
        return {key: _stacked([sample[key] for sample in samples]) for key in keys}
    if isinstance(first, Sequence) and not isinstance(first, str | bytes):
        columns = [_stacked([sample[place] for sample in samples]) for place in range(len(first))]
        return by_shape(str(path), [column for column in columns if column.dtype.kind in "fiu"])
    kind = type(first).__name__
    raise BadInput(f"{path} holds a list of {kind}; a list of galaxies (image, magnitudes, redshift) is needed")


def _stacked(values: Sequence[Any]) -> np.ndarray:
    return np.stack([np.asarray(_array(value)[...] if _is_array(value) else value) for value in values])


def _is_array(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor | np.ndarray | np.generic)


def _is_list_of_numbers(value: object) -> bool:
    """Whether it is a list of numbers a galaxy, or of as many in each."""
    if not isinstance(value, list | tuple) or len(value) < 2:
        return False
    rows = [row if isinstance(row, list | tuple) else [row] for row in value]
    return len({len(row) for row in rows}) == 1 and all(isinstance(each, float) for row in rows for each in row)


def _may_hold_arrays(value: object) -> bool:
    from torch.utils.data import Subset, TensorDataset

    return isinstance(value, TensorDataset | Subset) or (
        isinstance(value, Mapping) and any(_is_array(each) or _may_hold_arrays(each) for each in value.values())
    )


def _dims(value: Any) -> int:
    return int(value.ndim)


class _Tensor:
    """A tensor, of which slices become arrays."""

    def __init__(self, tensor: Any) -> None:
        import torch

        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise ContentRefused("a tensor is sparse, quantized or complex")
        tensor = tensor.detach()
        size = tensor.element_size()
        available = tensor.untyped_storage().nbytes() // size
        check_layout(tuple(tensor.shape), tuple(tensor.stride()), tensor.storage_offset(), available)
        self._tensor = tensor.to(torch.float32) if tensor.dtype == torch.bfloat16 and tensor.ndim < 2 else tensor
        self.shape = tuple(int(side) for side in tensor.shape)

    def __getitem__(self, part: Any, /) -> np.ndarray:
        import torch

        chosen = self._tensor[part]
        wide = chosen.float() if chosen.dtype == torch.bfloat16 else chosen
        array: np.ndarray = wide.numpy()
        return array


def _array(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else _Tensor(value)


def is_saved_object(path: Path) -> bool:
    """Whether a file begins as those of torch.save do: a zip, or a pickle."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
    return False

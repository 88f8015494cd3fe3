"""A `torch.save` file of tensors, written without torch: what `inference.partitions.pt_file` reads.

Torch is 200 MB to 5 GB of libraries, and a partition needs a zip file with some 300 bytes of pickle in it.
"""

import struct
import zipfile
from collections.abc import Sequence
from typing import IO

import numpy as np

from inference.partitions.pt_file import FACTS

_FOLDER = "archive"
_ALIGNMENT = 64  # bytes, as torch aligns storages: a mapped array can be used without a copy
_LOCAL_HEADER, _ZIP64_EXTRA = 30, 20  # bytes
_STORAGES = {np.dtype("<f4"): "FloatStorage", np.dtype("<f8"): "DoubleStorage"}

# Opcodes of pickle protocol 2.
_PROTOCOL, _STOP, _MARK, _TUPLE, _EMPTY_TUPLE, _EMPTY_DICT = b"\x80\x02", b".", b"(", b"t", b")", b"}"
_REDUCE, _NEW_OBJECT, _BUILD, _SET_ITEM, _FALSE, _PERSISTENT_ID = b"R", b"\x81", b"b", b"s", b"\x89", b"Q"


def write_dataset(file: IO[bytes], arrays: Sequence[np.ndarray], facts: str | None = None) -> None:
    """Write what `torch.save(TensorDataset(*tensors), file)` writes; the same arrays give the same bytes.

    Args:
        file: opened for writing, seekable.
        arrays: float32 or float64, C-contiguous, of any shape.
        facts: a note of the survey, JSON, in an entry of its own that torch does not look at.

    Raises:
        OSError: the file cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _put(archive, "data.pkl", _pickled(arrays))
        _put(archive, "byteorder", b"little")
        if facts is not None:  # near the beginning, where a streamed partition is read first
            _put(archive, FACTS, facts.encode())
        for number, array in enumerate(arrays):
            _put(archive, f"data/{number}", array.reshape(-1).view(np.uint8).data)
        _put(archive, "version", b"3\n")


def _put(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    """Add an entry whose content begins at a multiple of 64 bytes."""
    entry = zipfile.ZipInfo(f"{_FOLDER}/{name}")
    before = archive.start_dir + _LOCAL_HEADER + len(entry.filename) + 4
    if len(data) * 1.05 > zipfile.ZIP64_LIMIT:  # then the library adds a field of its own
        before += _ZIP64_EXTRA
    padding = -before % _ALIGNMENT
    entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding  # the field that torch pads with
    archive.writestr(entry, data)


def _pickled(arrays: Sequence[np.ndarray]) -> bytes:
    """The data set as a pickle: class, state, and each tensor as a view of the storage of its number."""
    dataset = _global("torch.utils.data.dataset TensorDataset") + _EMPTY_TUPLE + _NEW_OBJECT
    tensors = _tuple(*(_tensor(number, array) for number, array in enumerate(arrays)))
    return _PROTOCOL + dataset + _EMPTY_DICT + _text("tensors") + tensors + _SET_ITEM + _BUILD + _STOP


def _tensor(number: int, array: np.ndarray) -> bytes:
    kind = _global(f"torch {_STORAGES[array.dtype]}")
    storage = _tuple(_text("storage"), kind, _text(str(number)), _text("cpu"), _integer(array.size)) + _PERSISTENT_ID
    shape = _tuple(*map(_integer, array.shape))
    strides = _tuple(*(_integer(stride // array.itemsize) for stride in array.strides))
    hooks = _global("collections OrderedDict") + _EMPTY_TUPLE + _REDUCE
    arguments = _tuple(storage, _integer(0), shape, strides, _FALSE, hooks)
    return _global("torch._utils _rebuild_tensor_v2") + arguments + _REDUCE


def _global(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if value < 2**31 else b"\x8a\x08" + struct.pack("<q", value)


def _tuple(*items: bytes) -> bytes:
    return _MARK + b"".join(items) + _TUPLE

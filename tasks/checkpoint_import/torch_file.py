"""The two file formats of `torch.save`, and safetensors: what object they hold, and the numbers of its tensors.

The zip format (since torch 1.6) is described in `inference.partitions.pt_file`. The legacy format is a row of pickles,
a magic number, a version, the machine's properties, the object, the keys of the storages, and after them the storages,
each a count and its numbers.
"""

import hashlib
import io
import math
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors

from inference.contract.tensor_layout import check_layout, count_elements
from inference.errors import BadInput
from tasks.checkpoint_import.pickled import MAX_PICKLE, Refused, Storage, Weight, read_pickle

if TYPE_CHECKING:
    import torch

_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_MAX_FILE = 2 << 30  # the published checkpoint has 64 MB, with the optimizer's state 200 MB
_COUNT = struct.Struct("<q")
_SAFETENSORS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_SIZES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int16": 2}


@dataclass(frozen=True)
class SavedFile:
    """A checkpoint in memory.

    Attributes:
        root: the object saved, see `tasks.checkpoint_import.pickled.read_pickle`.
        sha256: of the file, in hexadecimal.
        size: of the file in bytes.
    """

    root: object
    sha256: str
    size: int
    _storages: "_Zip | _Legacy | _Safetensors"

    def tensor(self, name: str, weight: Weight) -> "torch.Tensor":
        """The numbers of a tensor, copied, of the file's type.

        Raises:
            BadInput: naming the tensor: it reaches beyond its data, or the data is damaged.
        """
        import torch

        storage = weight.storage
        try:
            count = check_layout(weight.shape, weight.strides, weight.offset, storage.count)
        except ValueError:
            raise BadInput(f"tensor {name} reaches beyond its data") from None
        extent = 1 + sum((size - 1) * stride for size, stride in zip(weight.shape, weight.strides, strict=True))
        extent = extent if count else 0
        size = _SIZES.get(storage.dtype, 1)
        begin = (storage.start + weight.offset) * size
        try:
            data = self._storages.read(storage)[begin : begin + extent * size]
        except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError, RuntimeError):
            raise BadInput(f"it is truncated or damaged: the data of tensor {name} cannot be read") from None
        if len(data) != extent * size:
            raise BadInput(f"it is truncated or damaged: tensor {name} reaches beyond its data")
        flat = torch.frombuffer(bytearray(data or b"\0" * size), dtype=getattr(torch, storage.dtype))
        return flat[:extent].as_strided(weight.shape, weight.strides).contiguous()


def read_file(path: Path) -> SavedFile:
    """Read a checkpoint of any of the formats whole; nothing of it is executed.

    Raises:
        BadInput: it cannot be read, is too large, of no such format, truncated or damaged, or names globals that are
            not on the list, all of which the message has.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_FILE:
            raise BadInput(f"it has {size:,} bytes, far more than a checkpoint of an AstroMAE")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"it cannot be read ({error.strerror})") from None
    forms = ((b"PK", 0, _Zip), (b"{", 8, _Safetensors), (b"\x80", 0, _Legacy))
    form = next((form for magic, at, form in forms if data[at:].startswith(magic)), None)
    if form is None:
        raise BadInput("it is no file of torch.save and no safetensors file")
    try:
        storages, root = form.read_from(data)
    except Refused as error:
        raise BadInput(str(error)) from None
    except zipfile.BadZipFile as error:
        raise BadInput(f"it is truncated or a damaged zip ({error!s:.100})") from None
    except (ValueError, LookupError, TypeError, OverflowError, RuntimeError, OSError, EOFError, struct.error):
        raise BadInput("it is truncated or damaged: its pickle ends early or makes no sense") from None
    return SavedFile(root, hashlib.sha256(data).hexdigest(), size, storages)


class _Safetensors:
    def __init__(self, tensors: dict[str, bytes]) -> None:
        self._tensors = tensors

    @classmethod
    def read_from(cls, data: bytes) -> tuple["_Safetensors", object]:
        try:
            tensors = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
        except safetensors.SafetensorError as error:
            raise Refused(f"it is a damaged or truncated safetensors file ({error!s:.100})") from None
        weights = {}
        for name, tensor in tensors.items():
            if tensor["dtype"] not in _SAFETENSORS:
                raise Refused(f"its tensor {name[:60]!a} is of the type {tensor['dtype']}")
            shape = tuple(tensor["shape"])
            count_elements(shape, len(tensor["data"]))
            strides = tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
            weights[name] = Weight(Storage(name, _SAFETENSORS[tensor["dtype"]], 0, math.prod(shape)), 0, shape, strides)
        return cls({name: tensor["data"] for name, tensor in tensors.items()}), weights

    def read(self, storage: Storage) -> bytes:
        return self._tensors[storage.key]


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive, self._folder = archive, folder

    @classmethod
    def read_from(cls, data: bytes) -> tuple["_Zip", object]:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = archive.namelist()
        index = min((name for name in names if f"/{name}".endswith("/data.pkl")), key=len, default="")
        if not index:
            raise Refused("its zip has no data.pkl")
        folder = index.removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names:
            raise Refused("its zip holds a TorchScript program, not a module that was pickled")
        saved = cls(archive, folder)
        if f"{folder}byteorder" in names and saved._entry("byteorder", 16) != b"little":
            raise Refused("its numbers are not little-endian")
        return saved, read_pickle(io.BytesIO(saved._entry("data.pkl", MAX_PICKLE)))

    def read(self, storage: Storage) -> bytes:
        return self._entry(f"data/{storage.key}", _MAX_FILE)

    def _entry(self, name: str, limit: int) -> bytes:
        info = self._archive.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise zipfile.BadZipFile("an entry is compressed, which torch.save never does")
        if info.file_size > limit:
            raise Refused(f"its entry {name} has {info.file_size} bytes")
        return self._archive.read(info)


class _Legacy:
    def __init__(self, data: bytes, spans: dict[str, tuple[int, int]]) -> None:
        self._data, self._spans = data, spans

    @classmethod
    def read_from(cls, data: bytes) -> tuple["_Legacy", object]:
        stream = io.BytesIO(data)
        if read_pickle(stream) != _MAGIC or read_pickle(stream) != _LEGACY_VERSION:
            raise Refused("its first pickle is not that of a torch.save file")
        machine = read_pickle(stream)
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise Refused("its numbers are not little-endian")
        dtypes: dict[str, str] = {}
        root, keys = read_pickle(stream, dtypes), read_pickle(stream)
        if not isinstance(keys, list):
            raise TypeError
        spans, at = {}, stream.tell()
        for key in keys:
            (count,) = _COUNT.unpack_from(data, at)
            if type(key) is not str or count < 0:
                raise TypeError
            begin, at = at + _COUNT.size, at + _COUNT.size + count * _SIZES.get(dtypes.get(key, ""), 1)
            spans[key] = (begin, at)
        if at > len(data):
            raise Refused("it is truncated: the data of its tensors ends early")
        return cls(data, spans), root

    def read(self, storage: Storage) -> bytes:
        begin, end = self._spans[storage.key]
        return self._data[begin:end]

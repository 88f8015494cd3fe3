"""The tensors of a `torch.save` file, read without torch and without an unpickler.

Such a file is a zip: `<folder>/data.pkl` says how the object is put together and
`<folder>/data/<key>` holds the bytes of each storage. The pickle is a program for a small stack
machine. Here it is walked opcode by opcode (`pickletools` only splits it), and the few opcodes that
a data set of tensors needs build tuples, dicts and array views; nothing is imported or called on
the file's behalf. An unpickler with a list of allowed globals would not do: nine bytes of pickle
can make it fill gigabytes of memo.
"""

import io
import mmap
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference.contract.tensor_layout import check_layout, is_contiguous
from inference.errors import BadPartition

Buffer = bytes | mmap.mmap

MAGIC = b"PK\x03\x04"
FACTS = "cosmic.json"  # an entry that torch does not look at
_MAX_DIRECTORY = 1 << 20  # a data set of three tensors needs a kilobyte
_MAX_PICKLE = 1 << 16  # and a third of a kilobyte of pickle
_LOCAL_HEADER = struct.Struct("<4s22xHH")

_REBUILD = "torch._utils _rebuild_tensor_v2"
_DATASET = "torch.utils.data.dataset TensorDataset"
_ORDERED_DICT = "collections OrderedDict"
_STORAGES: dict[str, "np.dtype[Any]"] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("<i1"),
    "torch ByteStorage": np.dtype("<u1"),
    "torch BoolStorage": np.dtype("?"),
}
_GLOBALS = {_REBUILD, _DATASET, _ORDERED_DICT, *_STORAGES}


def read_tensors(buffer: Buffer, name: str) -> list[np.ndarray]:
    """Map the tensors of a saved `TensorDataset`, tuple or list.

    Args:
        buffer: the whole file.
        name: how the file is called in messages.

    Returns:
        Views of the buffer, one a tensor, in order; read-only, and their pages are not touched.

    Raises:
        BadPartition: naming the file: no zip, damaged, compressed, big-endian, or its pickle wants
            anything but tensors.
    """
    try:
        entries = _entries(buffer)
        indices = [key for key in entries if f"/{key}".endswith("/data.pkl")]
        index = min(indices, key=len, default="")
        if not index:
            raise ValueError("it has no data.pkl")
        folder = index.removesuffix("data.pkl")
        byte_order = entries.get(f"{folder}byteorder")
        if byte_order is not None and byte_order.read(buffer, 16) != b"little":
            raise ValueError("its numbers are not little-endian")
        saved = _Machine(buffer, entries, folder).run(entries[index].read(buffer, _MAX_PICKLE))
    except zipfile.BadZipFile as error:
        raise BadPartition(f"{name} is truncated or a damaged zip: {error!s:.200}") from None
    except (ValueError, NotImplementedError) as error:
        raise BadPartition(f"{name} is no readable torch.save file: {error!s:.200}") from None
    except (struct.error, LookupError, TypeError, OverflowError, OSError, EOFError):
        raise BadPartition(f"{name} is no readable torch.save file: it is damaged") from None
    tensors = saved.tensors if isinstance(saved, _Dataset) else saved
    if not isinstance(tensors, tuple | list) or not all(isinstance(t, np.ndarray) for t in tensors):
        raise BadPartition(f"{name} holds something else than a data set of tensors")
    return list(tensors)


def read_facts(buffer: Buffer) -> bytes | None:
    """What `inference.partitions.pt_writer` notes beside the tensors of a file that `read_tensors` took; else None."""
    try:
        entry = next((found for key, found in _entries(buffer).items() if key.endswith(f"/{FACTS}")), None)
        return None if entry is None else entry.read(buffer, _MAX_PICKLE)
    except (zipfile.BadZipFile, ValueError):
        return None


@dataclass(frozen=True)
class _Entry:
    """Where the content of a zip's entry lies in the file."""

    offset: int
    size: int

    def read(self, buffer: Buffer, limit: int) -> bytes:
        if self.size > limit:
            raise ValueError(f"an entry that should be small has {self.size} bytes")
        return buffer[self.offset : self.offset + self.size]


class _Directory:
    """The file as `zipfile` sees it: no more than a directory's worth can be read at once."""

    def __init__(self, buffer: Buffer) -> None:
        self._view, self._at = memoryview(buffer), 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + (0, self._at, len(self._view))[whence]
        if at < 0:
            raise OSError
        self._at = at
        return at

    def read(self, count: int = -1, /) -> bytes:
        rest = max(0, len(self._view) - self._at)
        count = rest if count < 0 else min(count, rest)
        if count > _MAX_DIRECTORY:
            raise zipfile.BadZipFile("its directory is far too long")
        data = bytes(self._view[self._at : self._at + count])
        self._at += count
        return data


def _entries(buffer: Buffer) -> dict[str, _Entry]:
    with zipfile.ZipFile(_Directory(buffer)) as archive:
        return {info.filename: _located(buffer, info) for info in archive.infolist()}


def _located(buffer: Buffer, info: zipfile.ZipInfo) -> _Entry:
    """Find an entry's content by its local header, which is padded where the directory is not."""
    stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
    if not stored or info.flag_bits & 1:
        raise ValueError("an entry is compressed or encrypted, which torch.save never does")
    if not 0 <= info.header_offset <= len(buffer) - _LOCAL_HEADER.size:
        raise ValueError("an entry lies outside the file")
    magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(buffer, info.header_offset)
    offset = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    if magic != MAGIC or offset + info.file_size > len(buffer):
        raise ValueError("an entry lies outside the file")
    return _Entry(offset, info.file_size)


class _Global(str):
    """A global that the pickle names, as "module name"; never imported."""

    __slots__ = ()


@dataclass
class _Dataset:
    """Stands in for a TensorDataset while its state arrives."""

    tensors: object = None


@dataclass
class _Machine:
    """The pickle's stack machine, as far as `torch.save` of tensors uses it."""

    buffer: Buffer
    entries: Mapping[str, _Entry]
    folder: str
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, program: bytes) -> object:
        for opcode, argument, _ in pickletools.genops(program):
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode == "NEWTRUE")
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "MARK":
                self.marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = 0 if opcode == "EMPTY_TUPLE" else int(opcode[-1])
                stack.append(tuple(self._popped(count)))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND" | "APPENDS":
                items = self._since_mark() if opcode == "APPENDS" else self._popped(1)
                _of(list, stack[-1]).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS":
                items = self._since_mark() if opcode == "SETITEMS" else self._popped(2)
                for key, value in zip(items[::2], items[1::2], strict=True):
                    _of(dict, stack[-1])[_of(str, key)] = value
            case "GLOBAL" | "INST":
                stack.append(_known(argument))
            case "STACK_GLOBAL":
                module, name = self._popped(2)
                stack.append(_known(f"{_of(str, module)} {_of(str, name)}"))
            case "BINPERSID":
                stack.append(self._storage(*_of(tuple, stack.pop())))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._popped(2)
                stack.append(_built(function, _of(tuple, arguments)))
            case "BUILD":
                state = _of(dict, stack.pop())
                _of(_Dataset, stack[-1]).tensors = state["tensors"]
            case _:
                raise ValueError(f"its pickle has the opcode {opcode}, which tensors do not need")

    def _popped(self, count: int) -> list[Any]:
        """Take the topmost `count` values, the deepest first."""
        if len(self.stack) < count:
            raise ValueError("its pickle is damaged")
        cut = len(self.stack) - count
        values = self.stack[cut:]
        del self.stack[cut:]
        return values

    def _since_mark(self) -> list[Any]:
        return self._popped(len(self.stack) - self.marks.pop())

    def _storage(self, kind: str, scalar: str, key: str, _device: str, count: int) -> np.ndarray:
        """The one-dimensional array of a storage (persistent id of `torch.save`)."""
        dtype = _STORAGES.get(scalar) if isinstance(scalar, _Global) else None
        if kind != "storage" or dtype is None:
            raise ValueError("its pickle is damaged")
        entry = self.entries[f"{self.folder}data/{_of(str, key)}"]
        if not 0 <= _of(int, count) <= entry.size or count * dtype.itemsize != entry.size:
            raise ValueError(f"a tensor claims another size than its {entry.size} bytes of data")
        return np.frombuffer(self.buffer, dtype, count, entry.offset)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _known(wanted: str) -> _Global:
    if wanted not in _GLOBALS:
        shown = wanted.replace(" ", ".", 1)
        raise ValueError(f"its pickle wants {shown!r:.80}, which is refused and was not run")
    return _Global(wanted)


def _built(function: object, arguments: tuple[Any, ...]) -> object:
    """What a call of one of the known globals gives."""
    if isinstance(function, _Global):
        if function == _REBUILD:
            return _tensor(*arguments)
        if function == _DATASET and not arguments:
            return _Dataset()
        if function == _ORDERED_DICT:
            return {}  # a tensor's backward hooks, always empty
    raise ValueError("its pickle calls something that is no tensor")


def _tensor(
    storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_rest: object
) -> np.ndarray:
    """A view of a storage; the rest (gradient, hooks, metadata) does not change its values."""
    values: np.ndarray = _of(np.ndarray, storage)
    count = check_layout(shape, strides, offset, len(values))
    if not is_contiguous(shape, strides):
        raise ValueError("a tensor is not contiguous: cosmic partition writes the file anew")
    return values[offset : offset + count].reshape(shape)

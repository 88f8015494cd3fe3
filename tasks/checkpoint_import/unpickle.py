"""The object that a pickle of `torch.save` describes, put together from inert stand-ins.

A published checkpoint is a whole module: loading it the ordinary way imports and calls whatever the file names. Here
the pickle is walked opcode by opcode (`pickletools` only splits it, as in `inference.partitions.pt_file`). An object of
a known class becomes a `StandIn` that holds the class's name and the attributes, a tensor becomes a `Weight` that says
where its numbers lie, and nothing is imported or called on the file's behalf. Every other global is refused.
"""

import io
import pickletools
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

# The published module's pickle has half a megabyte; in the legacy format the classes' sources may stand in it too.
MAX_PICKLE = 4 << 20
_MOST = 1 << 40  # numbers in a tensor; keeps sizes short enough to be told in a sentence

DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_TORCH_CLASSES = {
    "container": "Sequential ModuleList",
    "linear": "Linear Identity",
    "conv": "Conv2d",
    "batchnorm": "BatchNorm2d",
    "normalization": "LayerNorm",
    "activation": "ReLU GELU SiLU",
    "dropout": "Dropout",
    "pooling": "MaxPool2d AvgPool2d",
    "flatten": "Flatten",
}
_TIMM_CLASSES = {
    "Attention",
    "Block",
    "DropPath",
    "Format",
    "LayerNorm",
    "LayerScale",
    "Mlp",
    "PatchEmbed",
    "VisionTransformer",
}
_CLASSES = {
    "torch.nn.parallel.data_parallel DataParallel",
    "torch device",
    "argparse Namespace",
    *(f"torch.nn.modules.{module} {name}" for module, names in _TORCH_CLASSES.items() for name in names.split()),
}
_TENSORS = {"torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"}
_PARAMETERS = {"torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state"}
_SETS = {"builtins set", "__builtin__ set"}
_STORAGES = {f"{module} {name}": dtype for module in ("torch", "torch.cuda") for name, dtype in DTYPES.items()}
_BUILT = {"collections OrderedDict", "torch Size", *_TENSORS, *_PARAMETERS, *_SETS, *_STORAGES}


@dataclass(frozen=True)
class Storage:
    """Numbers of one type in a row, somewhere in the file.

    Attributes:
        key: its name in the file.
        dtype: as torch names it, such as "float32".
        start: where this view of it begins, in numbers.
        count: how many numbers there are.
    """

    key: str
    dtype: str
    start: int
    count: int


@dataclass(frozen=True)
class Weight:
    """A tensor, as the part of a storage that it shows; its numbers are not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(eq=False)
class StandIn:
    """What the file says of an object of a known class.

    Attributes:
        kind: "module.Class".
        state: its attributes.
    """

    kind: str
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The class's name without its module."""
        return self.kind.rpartition(".")[2]


class Refused(ValueError):
    """Something is wrong with the file; the message is a sentence on what, without the file's name."""


def read_pickle(stream: io.BytesIO, dtypes: dict[str, str] | None = None) -> object:
    """Put together the object that the next pickle of the stream describes.

    Args:
        stream: left behind the pickle.
        dtypes: filled with the type of each storage that the pickle names, by its key.

    Returns:
        Dicts, lists, tuples, plain values, `StandIn`s and `Weight`s; sets come as lists.

    Raises:
        Refused: it names globals beyond the known ones, all of which the message has; or it is damaged, too long, or
            needs an opcode that no module needs. Damaged ones also give ValueError, LookupError, TypeError,
            OverflowError and struct.error.
    """
    begin, machine = stream.tell(), _Machine({} if dtypes is None else dtypes)
    try:
        for opcode, argument in _opcodes(stream):
            machine.step(opcode, argument)
        saved: object = machine.stack.pop()
    except (ValueError, LookupError, TypeError, OverflowError, struct.error):
        stream.seek(begin)
        with suppress(ValueError, struct.error):  # what else it names is told even where the rest cannot be read
            for opcode, argument in _opcodes(stream):
                if opcode in {"GLOBAL", "INST"} and not _known(argument):
                    machine.unknown.add(argument)
        if not machine.unknown:
            raise
    if machine.unknown:
        names = sorted(name.replace(" ", ".", 1) for name in machine.unknown)
        shown = ", ".join(ascii(name)[1:-1][:80] for name in names[:100])
        more = f" and {len(names) - 100} more" if len(names) > 100 else ""
        raise Refused(f"its pickle wants {shown}{more}, which is refused; nothing of it was run")
    return saved


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[str, Any]]:
    end = stream.tell() + MAX_PICKLE
    for opcode, argument, _ in pickletools.genops(stream):
        if stream.tell() > end:
            raise Refused(f"its pickle is longer than {MAX_PICKLE} bytes")
        yield opcode.name, argument


def _known(wanted: str) -> bool:
    module, _, name = wanted.partition(" ")
    if module == "NormalCell" or module.endswith(".NormalCell") or module.startswith("blocks."):
        return True
    if module.startswith(("timm.models.vision_transformer", "timm.models.layers", "timm.layers")):
        return name in _TIMM_CLASSES
    return wanted in _CLASSES or wanted in _BUILT


class _Global(str):
    """A global that the pickle names, as "module name"; never imported."""

    __slots__ = ()


@dataclass
class _Machine:
    """The pickle's stack machine, as far as modules and state dicts use it."""

    dtypes: dict[str, str]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING" | "BINBYTES" | "SHORT_BINBYTES":
                stack.append(argument)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
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
                stack.append(tuple(self._popped(0 if opcode == "EMPTY_TUPLE" else int(opcode[-1]))))
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "FROZENSET":
                stack.append(self._since_mark())
            case "APPEND":
                items = self._popped(1)
                _of(list, stack[-1]).extend(items)
            case "APPENDS" | "ADDITEMS":
                items = self._since_mark()
                _of(list, stack[-1]).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS":
                items = self._since_mark() if opcode == "SETITEMS" else self._popped(2)
                _of(dict, stack[-1]).update(_pairs(items[::2], items[1::2]))
            case "GLOBAL" | "STACK_GLOBAL":
                if opcode == "STACK_GLOBAL":
                    module, name = self._popped(2)
                    argument = f"{_of(str, module)} {_of(str, name)}"
                if not _known(argument):
                    self.unknown.add(argument)
                stack.append(_Global(argument))
            case "BINPERSID":
                thing = _persistent(*_of(tuple, stack.pop()))
                if isinstance(thing, Storage):
                    self.dtypes[thing.key] = thing.dtype
                stack.append(thing)
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._popped(2)
                stack.append(_built(_of(_Global, function), _of(tuple, arguments)))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], StandIn):
                    stack[-1].state.update(_of(dict, state))
                elif type(stack[-1]) is not dict:  # a state dict's own state is its versions, of no use here
                    raise TypeError
            case _:
                raise Refused(f"its pickle has the opcode {opcode}, which no module needs")

    def _popped(self, count: int) -> list[Any]:
        """Take the topmost `count` values, the deepest first."""
        if len(self.stack) < count:
            raise Refused("its pickle is damaged")
        cut = len(self.stack) - count
        values = self.stack[cut:]
        del self.stack[cut:]
        return values

    def _since_mark(self) -> list[Any]:
        return self._popped(len(self.stack) - self.marks.pop())


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _pairs(keys: list[Any], values: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Items for a dict; a key that is no plain value could take forever to hash."""
    for key, value in zip(keys, values, strict=True):
        if type(key) not in {str, int, float, bool, type(None)}:
            raise TypeError
        yield key, value


def _persistent(kind: str, what: Any, key: Any, _where: Any, count: Any = 0, view: Any = None) -> object:
    """A storage, or in the legacy format a class with its source, which is not looked at."""
    if kind == "module":
        return _of(_Global, what)
    dtype = _STORAGES.get(what) if type(what) is _Global else None
    if kind != "storage" or dtype is None or _of(int, count) < 0:
        raise Refused("its pickle is damaged")
    start = 0
    if view is not None:
        _, start, count = _of(tuple, view)
        if _of(int, start) < 0 or _of(int, count) < 0:
            raise Refused("its pickle is damaged")
    return Storage(_of(str, key), dtype, start, count)


def _built(function: str, arguments: tuple[Any, ...]) -> object:
    """What a call of one of the known globals gives."""
    if function in _TENSORS:
        return _weight(*arguments)
    if function in _PARAMETERS:
        return _of(Weight, arguments[0])
    if function == "collections OrderedDict":
        pairs = [_of(list, pair) for pair in _of(list, arguments[0])] if arguments else []
        return dict(_pairs([key for key, _ in pairs], [value for _, value in pairs]))
    if function in _SETS:
        return _of(list, arguments[0]) if arguments else []
    if function == "torch Size":
        return _of(tuple, arguments[0])
    if function in _STORAGES:
        raise Refused("its pickle is damaged")
    return StandIn(function.replace(" ", ".", 1))


def _weight(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> Weight:
    """A tensor; the rest (gradient, hooks, metadata) does not change its values."""
    numbers = (offset, *_of(tuple, shape), *_of(tuple, strides))
    if len(shape) != len(strides) or len(shape) > 8 or any(not 0 <= _of(int, number) < _MOST for number in numbers):
        raise Refused("a tensor's shape is damaged")
    return Weight(_of(Storage, storage), offset, shape, strides)

"""The object that a pickle of `torch.save` describes, with inert stand-ins for the classes and functions it names.

The standard library's unpickler asks `find_class` for each name. Here the answer never imports anything: a call of it
gives plain data, a `Weight` or a `StandIn`. The unpickler written in Python is used, because its opcodes can be
replaced; with the one in C nine bytes can claim gigabytes of memo (docs/decisions/0016-reading-pickles.md).
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from inference.contract.counted import listed
from inference.contract.tensor_layout import check_layout
from tasks.checkpoint_import.known_names import STORAGES, is_known, of_a_model

# The published module's pickle has half a megabyte; before torch 1.6 the classes' sources may stand in it too.
MAX_PICKLE = 4 << 20
_MAX_SIZE = 1 << 40  # numbers in a storage that a tensor may claim before its file is read
_LEFT_OUT = b"ioP\x82\x83\x84\x92\x96\x97\x98"  # opcodes of old instances, text persistent ids, extensions, buffers
_MAX_NAME = 400  # characters of a module and a name; joining longer ones over and over could take forever
_MAX_ARGUMENTS = 256  # of a call, for the same reason
_PLAIN = {str, bytes, int, float, bool, type(None)}


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
    """What the file says of an object.

    Attributes:
        kind: "module.Class".
        state: its attributes.
    """

    kind: str
    state: dict[Any, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The class's name without its module."""
        return self.kind.rpartition(".")[2]

    def __setitem__(self, key: object, value: object) -> None:
        """Leave out an item; no class of a model is derived from dict or list."""

    def append(self, value: object) -> None:
        """Leave out items, one or a list of them."""

    extend = append


class Refused(ValueError):
    """Something is wrong with the file; the message is a sentence on what, without the file's name."""


def read_pickle(stream: io.BytesIO, dtypes: dict[str, str] | None = None) -> object:
    """Build the object that the next pickle of the stream describes.

    Args:
        stream: left behind the pickle.
        dtypes: filled with the type of each storage that the pickle names, by its key.

    Returns:
        Dicts, lists, tuples, plain values, `StandIn`s and `Weight`s; sets come as lists.

    Raises:
        Refused: it calls or holds classes and functions beyond the known ones, all of which the message has; or it is
            damaged, too long, or needs an opcode that no checkpoint needs.
    """
    begin, window = stream.tell(), io.BytesIO(stream.read(MAX_PICKLE))
    reader = _Unpickler(window, {} if dtypes is None else dtypes)
    try:
        saved: object = reader.load()
    except Exception as error:
        reader.refuse_unknown(damaged=True)
        if window.tell() == MAX_PICKLE and stream.read(1):
            raise Refused(f"its pickle is longer than {MAX_PICKLE} bytes") from None
        if isinstance(error, Refused):
            raise
        raise Refused("it is truncated or damaged: its pickle ends early or makes no sense") from None
    reader.refuse_unknown(damaged=False)
    stream.seek(begin + window.tell())
    return saved


class _Unpickler(pickle._Unpickler):
    """The standard library's; its classes are inert, and no opcode allocates more than the file has."""

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, stream: io.BytesIO, dtypes: dict[str, str]) -> None:
        super().__init__(stream)
        self._dtypes, self._copied = dtypes, 0
        self._unknown: set[str] = set()
        self._called: set[str] = set()  # of the unknown ones
        self._instantiated: set[str] = set()  # of the unknown ones, which calls nothing

    def refuse_unknown(self, *, damaged: bool) -> None:
        """Objects of an unknown class are data that nobody reads; a call or a bare name is refused."""
        if self._called or (not damaged and self._unknown - self._instantiated):
            shown = listed((ascii(name)[1:-1][:80] for name in sorted(self._unknown)), most=100)
            raise Refused(f"its pickle wants {shown}, which is refused; nothing of it was run")

    def find_class(self, module: str, name: str) -> Any:
        if len(module) + len(name) > _MAX_NAME:
            raise Refused(f"its pickle names something of more than {_MAX_NAME} characters")
        full = f"{module}.{name}"
        if not is_known(full):
            self._unknown.add(full)
        return partial(self._call, full)

    def _call(self, name: str, *arguments: Any) -> object:
        # What is copied here was written in the pickle once; shared parts of it could be copied over and over.
        self._copied += sum(len(argument) for argument in arguments if isinstance(argument, list | tuple | dict))
        if self._copied > MAX_PICKLE:
            raise Refused("its pickle copies its parts far more often than a checkpoint does")
        if name in _BUILT:
            return _BUILT[name](*arguments)
        if name in STORAGES:
            raise TypeError
        if not is_known(name):
            self._called.add(name)
        return StandIn(name)

    def persistent_load(self, pid: Any) -> object:
        """A storage; before torch 1.6 also a class with its source, which is not looked at."""
        kind, what, key, *rest = _few(pid)
        name = _of(partial, what).args[0]
        if kind == "module":
            return what
        _, count, view = (*rest, None)[:3]
        start, count = (0, count) if view is None else _few(view)[1:]
        if kind != "storage" or min(_of(int, start), _of(int, count)) < 0:
            raise TypeError
        self._dtypes[_of(str, key)] = STORAGES[name]
        return Storage(key, STORAGES[name], start, count)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = _of(partial, self.stack[-1])(*_few(arguments))

    def load_newobj(self) -> None:
        arguments, made_of = self.stack.pop(), _of(partial, self.stack.pop())
        if made_of.args[0] in self._unknown:
            self._instantiated.add(made_of.args[0])
            self.append(StandIn(made_of.args[0]))
        else:
            self.append(made_of(*_few(arguments)))

    def load_build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if not isinstance(made, StandIn | Weight | dict) or (_is_module(made) and type(state) is not dict):
            raise TypeError
        if isinstance(made, StandIn) and isinstance(state, dict):  # of the others these are versions and hooks
            if made.state:
                raise TypeError
            made.state = state

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_hashable(key)] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][_hashable(key)] = value

    _OPCODES = pickle._Unpickler.dispatch
    dispatch: ClassVar[dict[int, Any]] = {
        **{code: load for code, load in _OPCODES.items() if code not in _LEFT_OUT},
        pickle.EMPTY_SET[0]: _OPCODES[pickle.EMPTY_LIST[0]],  # what is in a set could take forever to hash
        pickle.BYTEARRAY8[0]: _OPCODES[pickle.BINBYTES8[0]],  # theirs allocates before it reads
        pickle.ADDITEMS[0]: _OPCODES[pickle.APPENDS[0]],
        pickle.FROZENSET[0]: _OPCODES[pickle.LIST[0]],
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _few(arguments: Any) -> tuple[Any, ...]:
    """The arguments of a call, if they are as few as those of one."""
    if type(arguments) is not tuple or len(arguments) > _MAX_ARGUMENTS:
        raise TypeError
    return arguments


def _is_module(made: object) -> bool:
    return isinstance(made, StandIn) and of_a_model(made.kind)


def _hashable(key: Any) -> Any:
    """A key of a dict; one of nested tuples could take forever to hash."""
    parts = key if type(key) is tuple else [key]
    if any(type(part) not in _PLAIN | {StandIn, Weight, partial} for part in parts):
        raise TypeError
    return key


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> Weight:
    """A tensor; the rest (gradient, hooks, metadata) does not change its values.

    Its layout is compared with its data when it is read, so that the message has its name.
    """
    check_layout(shape, strides, offset, _MAX_SIZE)
    return Weight(_of(Storage, storage), offset, tuple(shape), tuple(strides))


_BUILT: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: _of(Weight, tensor),
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: _of(Weight, tensor),
    # A tensor to which attributes were added: the function that makes it, its type, the arguments, the attributes.
    "torch._tensor._rebuild_from_type_v2": lambda make, _type, arguments, *_: _of(partial, make)(*_few(arguments)),
    "torch.Size": lambda sizes: _of(tuple, sizes),
    "collections.OrderedDict": lambda pairs=(): {_hashable(key): value for key, value in pairs},
    "collections.defaultdict": lambda *_: {},
    "builtins.set": lambda values=(): list(values),
    "__builtin__.set": lambda values=(): list(values),
}

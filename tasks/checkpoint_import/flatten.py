"""A saved module or state dict as named tensors, whatever training scripts wrapped around it."""

import re
from dataclasses import dataclass
from typing import Any

from inference.contract.counted import listed
from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.checkpoint_import.known_names import of_a_model
from tasks.checkpoint_import.pickled import StandIn, Weight

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_AVERAGED = re.compile(r"(^|_)(ema|swa|average|averaged|shadow)(_|$)", re.IGNORECASE)
_TRANSPARENT = re.compile(r"(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
_MAX_TENSORS = 20_000
_MAX_GROUPS = 8  # models side by side
_NUMBERED = re.compile(r"(.*?)(\d{0,6})")


@dataclass(frozen=True)
class Saved:
    """A module or state dict, flattened; what all names begin with, such as `module.`, is taken off.

    Attributes:
        tensors: by name, in the order of their definition.
        modules: by path; empty for a state dict.
        weights: what is still to be chosen by: "model" once a model was chosen.
        notes: sentences on which of several models was taken and what beside the weights was ignored.
    """

    tensors: dict[str, Weight]
    modules: dict[str, StandIn]
    weights: str
    notes: tuple[str, ...]

    def groups(self) -> dict[str, "Saved"]:
        """What lies under each first part of a name under which there are transformer blocks."""
        starts = dict.fromkeys(name.partition(".")[0] for name in self.tensors if ".qkv" in name)
        if len(starts) > _MAX_GROUPS:
            return {}
        parts = {start: _below(start, self.tensors, self.modules) for start in starts}
        return {start: Saved(*part, self.weights, self.notes) for start, part in parts.items()}


def flatten(root: object, weights: str = "model") -> Saved:
    """Name every tensor of a module or a state dict, out of the dicts that training scripts wrap around them.

    Args:
        root: see `tasks.checkpoint_import.pickled.read_pickle`.
        weights: which of several models to take: "model", "ema" for the averaged one, or its name in the file.

    Raises:
        BadInput: it is neither, too deep or large to be one, or it is not clear which of several models is meant.
    """
    notes: list[str] = []
    ignored: list[str] = []
    for _ in range(4):
        if not isinstance(root, dict) or _has_blocks(root):
            break
        names = [key for key in root if isinstance(key, str) and _holds_blocks(root[key])]
        names = names or [key for key in _WRAPPERS if isinstance(root.get(key), dict | StandIn)][:1]
        if not names:
            break
        taken, weights = choose(names, weights, notes)
        ignored += [shown(key) for key in root if key not in names]
        root = root[taken]
    tensors, modules = _parts(root)
    for name in [name for name in tensors if name.rpartition(".")[2] == "n_averaged"]:
        ignored.append(shown(name))
        del tensors[name]
    if ignored:
        notes.append(f"ignored beside the weights: {listed(ignored)}")
    while len(starts := {name.partition(".")[0] for name in tensors}) == 1 and all("." in name for name in tensors):
        start = starts.pop()
        weights = "model" if _fits(start, weights) else weights
        tensors, modules = _below(start, tensors, modules)
    return Saved(_in_order(tensors), modules, weights, tuple(notes))


def choose(names: list[str], weights: str, notes: list[str]) -> tuple[str, str]:
    """One of several models in a file, and what is still to be chosen by; adds a note where there was a choice.

    Raises:
        BadInput: none is what was asked for, or several are.
    """
    fitting = [name for name in names if _fits(name, weights)]
    if len(names) == 1:
        return names[0], "model" if fitting else weights
    if len(fitting) != 1:
        raise BadInput(f"it holds the models {listed(map(shown, names))}: choose one of them with --weights NAME")
    others = listed(shown(name) for name in names if name != fitting[0])
    notes.append(f"took the weights under {shown(fitting[0])}, not those under {others} (--weights NAME takes others)")
    return fitting[0], "model"


def _fits(name: str, weights: str) -> bool:
    """Whether a model under a name is what was asked for."""
    if weights not in {"model", "ema"}:
        return name == weights
    return (_AVERAGED.search(name) is not None) == (weights == "ema")


def _below(
    start: str, tensors: dict[str, Weight], modules: dict[str, StandIn]
) -> tuple[dict[str, Weight], dict[str, StandIn]]:
    """The tensors and modules whose names begin with `start.`, without it."""
    start += "."
    return (
        {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)},
        {path.removeprefix(start): module for path, module in modules.items() if path.startswith(start)},
    )


def shown(name: object) -> str:
    """A key of the file, short enough for a message and without control characters."""
    return shorten(name) if isinstance(name, str | int | float | None) else f"a {type(name).__name__}"


def _has_blocks(names: dict[Any, Any]) -> bool:
    return any(isinstance(name, str) and ".qkv" in name and isinstance(names[name], Weight) for name in names)


def _holds_blocks(value: object) -> bool:
    """Whether a value is a module, or a dict in which, not far below, transformer blocks lie."""
    level, seen = [value], set[int]()
    for _ in range(4):
        inner: list[object] = []
        for one in level:
            if isinstance(one, StandIn) and of_a_model(one.kind) and "_modules" in one.state:
                return True
            if isinstance(one, dict) and id(one) not in seen:
                seen.add(id(one))
                if _has_blocks(one):
                    return True
                inner += one.values()
        level = inner
    return False


def _parts(root: object) -> tuple[dict[str, Weight], dict[str, StandIn]]:
    if isinstance(root, dict):
        tensors = {name: value for name, value in root.items() if isinstance(value, Weight) and isinstance(name, str)}
        modules: dict[str, StandIn] = {}
    elif isinstance(root, StandIn):
        tensors, modules = _walked(root)
    else:
        raise BadInput("it holds neither a module nor a state dict")
    if not tensors:
        raise BadInput("it holds a module or dict without any tensor")
    if len(tensors) > _MAX_TENSORS:
        raise BadInput(f"it holds more than {_MAX_TENSORS:,} tensors")
    if odd := [name for name in (*tensors, *modules) if len(name) > 200 or not name.isprintable()]:
        raise BadInput(f"it holds something under the name {odd[0][:60]!a}, which is none")
    return (
        {_TRANSPARENT.sub("", name).lstrip("."): tensor for name, tensor in tensors.items()},
        {_TRANSPARENT.sub("", f"{path}.").strip("."): module for path, module in modules.items()},
    )


def _walked(root: StandIn) -> tuple[dict[str, Weight], dict[str, StandIn]]:
    """Tensors and submodules of a module, by path, as `Module.state_dict` orders them."""
    tensors: dict[str, Weight] = {}
    modules: dict[str, StandIn] = {}
    open_ = [("", root, 0)]
    while open_:
        path, module, depth = open_.pop()
        if depth > 30 or len(modules) + len(open_) > _MAX_TENSORS:
            raise BadInput("it nests modules far deeper than an AstroMAE does")
        modules[path] = module
        children = _dict(module, "_modules")
        for own in (_dict(module, "_parameters"), _dict(module, "_buffers"), module.state):
            for name, value in own.items():
                if isinstance(value, Weight):
                    tensors[f"{path}.{name}".lstrip(".")] = value
        for name, child in reversed(children.items()):
            if isinstance(child, StandIn):
                open_.append((f"{path}.{name}".lstrip("."), child, depth + 1))
    if foreign := sorted({module.kind for module in modules.values() if not of_a_model(module.kind)}):
        raise BadInput(f"its modules are of the classes {listed(map(shown, foreign))}, which no AstroMAE consists of")
    return tensors, modules


def _dict(module: StandIn, name: str) -> dict[str, Any]:
    value = module.state.get(name)
    return {key: item for key, item in value.items() if isinstance(key, str)} if isinstance(value, dict) else {}


def _in_order(tensors: dict[str, Weight]) -> dict[str, Weight]:
    """The same tensors with siblings such as 2 and 10, norm1 and norm2 in the order of their numbers.

    A state dict that was sorted, or built in another order, does not have them so.
    """
    places: dict[str, int] = {}

    def place(name: str) -> list[tuple[int, int]]:
        parts, owner = [], ""
        for part in name.split("."):
            stem, number = _NUMBERED.fullmatch(part).groups()  # type: ignore[union-attr] # matches any text
            parts.append((places.setdefault(f"{owner}.{stem}", len(places)), int(number or 0)))
            owner = f"{owner}.{part}"
        return parts

    return dict(sorted(tensors.items(), key=lambda item: place(item[0])))

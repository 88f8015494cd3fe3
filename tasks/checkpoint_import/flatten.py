"""A saved module or state dict as named tensors, whatever training scripts wrapped around it."""

import re
from dataclasses import dataclass
from typing import Any

from inference.errors import BadInput
from tasks.checkpoint_import.unpickle import StandIn, Weight

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MOST_TENSORS = 20_000
_NUMBERED = re.compile(r"(.*?)(\d{0,6})")


@dataclass(frozen=True)
class Saved:
    """A module or state dict, flattened; what all names begin with, such as `module.`, is taken off.

    Attributes:
        tensors: by name, in the order of their definition.
        modules: by path; empty for a state dict.
    """

    tensors: dict[str, Weight]
    modules: dict[str, StandIn]


def flatten(root: object) -> Saved:
    """Name every tensor of a module or a state dict, out of the dicts that training scripts wrap around them.

    Raises:
        BadInput: it is neither, or too deep or large to be one.
    """
    for _ in range(4):
        inner = (root[key] for key in _WRAPPERS if isinstance(root, dict) and isinstance(root.get(key), dict | StandIn))
        root = next(inner, root)
    if isinstance(root, dict):
        tensors = {name: value for name, value in root.items() if isinstance(value, Weight) and isinstance(name, str)}
        modules: dict[str, StandIn] = {}
    elif isinstance(root, StandIn):
        tensors, modules = _walked(root)
    else:
        raise BadInput("it holds neither a module nor a state dict")
    if not tensors:
        raise BadInput("it holds a module or dict without any tensor")
    if len(tensors) > _MOST_TENSORS:
        raise BadInput(f"it holds more than {_MOST_TENSORS:,} tensors")
    if odd := [name for name in (*tensors, *modules) if len(name) > 200 or not name.isprintable()]:
        raise BadInput(f"it holds something under the name {odd[0][:60]!a}, which is none")
    while len(starts := {name.partition(".")[0] for name in tensors}) == 1 and all("." in name for name in tensors):
        start = f"{starts.pop()}."
        tensors = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
        modules = {path.removeprefix(start): module for path, module in modules.items() if path.startswith(start)}
    return Saved(_in_order(tensors), modules)


def _walked(root: StandIn) -> tuple[dict[str, Weight], dict[str, StandIn]]:
    """Tensors and submodules of a module, by path, as `Module.state_dict` orders them."""
    tensors: dict[str, Weight] = {}
    modules: dict[str, StandIn] = {}
    open_ = [("", root, 0)]
    while open_:
        path, module, depth = open_.pop()
        if depth > 30 or len(modules) + len(open_) > _MOST_TENSORS:
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
    return tensors, modules


def _dict(module: StandIn, name: str) -> dict[str, Any]:
    value = module.state.get(name)
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _in_order(tensors: dict[str, Weight]) -> dict[str, Weight]:
    """The same tensors with siblings such as 2 and 10, norm1 and norm2 in the order of their numbers.

    A state dict that was sorted, or put together in another order, does not have them so.
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

"""The config of an AstroMAE from the shapes of a checkpoint's tensors and the attributes stored beside them.

Contract, "Model": depth, heads, patch, MLP ratio, bias layout and the convolutions beside attention are read from the
checkpoint. Where the file holds whole modules, what they say of themselves (strides, epsilons, activations) must be
what `inference.model.astromae` computes; a plain state dict says none of it and is taken to be as the contract
describes.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from inference.contract.validation import shorten
from inference.errors import BadInput
from inference.model.config import AstroMAEConfig, QkvBias
from tasks.checkpoint_import.layers import Assignment, Layer
from tasks.checkpoint_import.pickled import StandIn

_NORM_EPS = 1e-6  # contract, "Model"; for files that do not say
_BATCH_NORM_EPS = 1e-5  # torch's default, which the model uses
_POOLS: dict[str, dict[str, set[Any]]] = {
    "MaxPool2d": {"kernel_size": {3, (3, 3)}, "stride": {1, (1, 1)}, "padding": {1, (1, 1)}},
    "AvgPool2d": {"kernel_size": {2, (2, 2)}, "stride": {2, (2, 2), None}, "padding": {0, (0, 0)}},
}


@dataclass(frozen=True)
class Inferred:
    """A config, and what was taken from elsewhere than the file.

    Attributes:
        config: of the model that the file's tensors make.
        convolution_kernel: size of the convolutions beside attention in the file, 1 or 3; None without them.
        assumed: sentences on what the file does not say.
    """

    config: AstroMAEConfig
    convolution_kernel: int | None
    assumed: tuple[str, ...]


def infer(assigned: Assignment, modules: dict[str, StandIn], heads: int | None) -> Inferred:
    """Infer the config; shapes that it does not explain are left to the comparison with the model.

    Args:
        assigned: what each layer is.
        modules: the file's modules by path, empty for a state dict.
        heads: of the attention, as the user says; None to take them from the modules.

    Raises:
        BadInput: naming what contradicts the contract or each other, or that the heads are not known.
    """
    layers, singles = assigned.layers, assigned.singles
    block = "encoder.blocks.0"
    width, bands, patch, _ = layers["encoder.patches"].shape
    if 0 in layers["encoder.patches"].shape:
        raise BadInput(f"{layers['encoder.patches'].path} has no weights")
    positions = singles["encoder.positions"][1].shape
    class_token = "encoder.class_token" in singles
    grid = math.isqrt(max(0, positions[1] - class_token))
    if grid == 0 or grid**2 + class_token != positions[1]:
        raise BadInput(
            f"{singles['encoder.positions'][0]} has {positions[1]} positions, which"
            f" {'with' if class_token else 'without'} a class token make no square of patches"
        )
    convolution, kernel = layers.get(f"{block}.convolution.0"), None
    if convolution is not None:
        kernel = convolution.shape[2]
        if kernel not in {1, 3} or convolution.shape[1] == 0:
            raise BadInput(f"{convolution.path} is a convolution of {kernel}x{kernel}; 1x1 and 3x3 are known")
    depth = sum(name.endswith(".attention.qkv") for name in layers)
    assumed: list[str] = []
    found_heads = _heads(layers, modules, width, heads)
    _check_modules(assigned, modules, found_heads, width, class_token)
    norm_eps, head_norm_eps = _norm_epsilons(layers, modules, assumed)
    config = AstroMAEConfig(
        image_size=grid * patch,
        bands=bands,
        patch=patch,
        width=width,
        depth=depth,
        heads=found_heads,
        mlp_ratio=layers[f"{block}.mlp.0"].shape[0] / width,
        qkv_bias=_qkv_bias(layers[f"{block}.attention.qkv"], singles),
        norm_eps=norm_eps,
        head_norm_eps=None if head_norm_eps == norm_eps else head_norm_eps,
        class_token=class_token,
        convolution_ratio=None if convolution is None else convolution.shape[0] / width,
        convolution_groups=1 if convolution is None else max(1, width // convolution.shape[1]),
        inception_stem=layers["inception.0"].shape[0],
        inception_widths=tuple(layers[f"inception.{place}.one.0"].shape[0] for place in (2, 3, 5, 6, 8)),
        magnitude_width=layers["magnitudes.0"].shape[0],
        magnitude_layers=sum(name.startswith("magnitudes.") for name in layers),
        branch_width=layers["encoder_head.4"].shape[0],
        head_width=layers["head.0"].shape[0],
    )
    if not modules:
        assumed.append("activations, strides and paddings as the contract has them: a state dict does not hold them")
    return Inferred(config, kernel, tuple(assumed))


def _heads(layers: dict[str, Layer], modules: dict[str, StandIn], width: int, said: int | None) -> int:
    found = set()
    for qkv in (layer for name, layer in layers.items() if name.endswith(".attention.qkv")):
        attention = modules.get(qkv.parent)
        heads = attention.state.get("num_heads") if attention else None
        if type(heads) is int and 0 < heads <= width:
            found.add(heads)
    if len(found) > 1:
        raise BadInput(
            f"its blocks have attention of {', '.join(map(str, sorted(found)))[:80]} heads; one number is known"
        )
    if said is None and not found:
        raise BadInput(
            "it does not say how many heads its attention has, which cannot be seen in the weights: give --heads N"
            " (the published encoders have 3)"
        )
    if said is not None and found and found != {said}:
        raise BadInput(f"its attention has {found.pop()} heads, not {said} as --heads says")
    heads = said if said is not None else found.pop()
    if heads < 1:
        raise BadInput(f"attention has at least one head, not {heads}")
    return heads


def _qkv_bias(qkv: Layer, singles: dict[str, Any]) -> QkvBias:
    if "bias" in qkv.tensors:
        return "joint"
    return "separate" if "encoder.blocks.0.attention.q_bias" in singles else "none"


def _norm_epsilons(layers: dict[str, Layer], modules: dict[str, StandIn], assumed: list[str]) -> tuple[float, float]:
    """Epsilons of the layer norms in the blocks, which are all the same, and of the one behind them."""
    found: dict[bool, set[float]] = {True: set(), False: set()}
    for ours, layer in layers.items():
        if layer.kind == "layer norm" and layer.path in modules:
            eps = modules[layer.path].state.get("eps")
            if type(eps) is float:
                found[ours.startswith("encoder.blocks.")].add(eps)
    in_blocks, last = found[True], found[False]
    if len(in_blocks) > 1:
        raise BadInput(
            f"the layer norms of its blocks have the epsilons {', '.join(map(str, sorted(in_blocks)))[:80]};"
            " one for all blocks is known"
        )
    if not in_blocks and not last:
        of_cells = "encoder.blocks.0.convolution.0" in layers
        assumed.append(
            f"epsilon {_NORM_EPS:g} in the layer norms, the contract's: a state dict does not hold it"
            + ("; blocks of NormalCell at its own default have 1e-05, which only a saved module shows" * of_cells)
        )
    eps = min(in_blocks or last or {_NORM_EPS})
    return eps, min(last or {eps})


def _check_modules(
    assigned: Assignment, modules: dict[str, StandIn], heads: int, width: int, class_token: bool
) -> None:
    """Refuse a module that computes something else than its counterpart in the model does."""
    for ours, layer in assigned.layers.items():
        module = modules.get(layer.path)
        if module is None:
            continue
        if layer.kind == "batch norm":
            _check(module, layer.path, "eps", {_BATCH_NORM_EPS})
        if layer.kind == "convolution":
            size = layer.shape[2]
            stride, padding = (size, 0) if ours == "encoder.patches" else (1, size // 2)
            _check(module, layer.path, "stride", {stride, (stride, stride)})
            _check(module, layer.path, "padding", {padding, (padding, padding), "same"})
            _check(module, layer.path, "dilation", {1, (1, 1)})
            _check(module, layer.path, "padding_mode", {"zeros"})
            if ".convolution." not in ours:
                _check(module, layer.path, "groups", {1})
    used = _used(assigned)
    for path, module in modules.items():
        if f"{path}.".startswith(f"{assigned.blocks}."):
            _check_in_block(path, module, assigned, heads, width, class_token)
        elif module.name in {"GELU", "SiLU"} and path.rpartition(".")[0] in used:
            raise BadInput(f"{path} is {module.name}, where ReLU is known")
        if not module.kind.startswith(("torch.", "timm.")) and not _holds_something(module):
            raise BadInput(f"{path} is {module.kind}, which has no weights, and what it computes is not known")
        for name, values in _POOLS.get(module.name, {}).items():
            _check(module, path, name, values)
    for place in (2, 3, 5, 6, 8):
        path = assigned.layers[f"inception.{place}.three.1.0"].path
        for owner in _ancestors(path):
            if owner in modules and type(modules[owner].state.get("is_custom")) is bool:
                _check(modules[owner], owner, "is_custom", {place == 8})


def _check_in_block(
    path: str, module: StandIn, assigned: Assignment, heads: int, width: int, class_token: bool
) -> None:
    activation = "SiLU" if path.rpartition(".")[0] == _convolutions(assigned, path) else "GELU"
    if module.name in {"ReLU", "GELU", "SiLU"} and module.name != activation:
        raise BadInput(f"{path} is {module.name}, where {activation} is known")
    if module.name == "GELU":
        _check(module, path, "approximate", {"none"})
    scale = module.state.get("scale")
    if "num_heads" in module.state and type(scale) is float and not math.isclose(scale, (width / heads) ** -0.5):
        raise BadInput(f"{path} scales its attention by {scale}, not by one over the root of {width} / {heads}")
    if type(module.state.get("class_token")) is bool:
        _check(module, path, "class_token", {class_token})


def _holds_something(module: StandIn) -> bool:
    return any(module.state.get(name) for name in ("_modules", "_parameters", "_buffers"))


def _convolutions(assigned: Assignment, path: str) -> str | None:
    """Path of the container of the convolutions beside attention, in the block that a path leads into."""
    number = re.match(r"\.(\d+)", path.removeprefix(assigned.blocks))
    layer = assigned.layers.get(f"encoder.blocks.{number[1]}.convolution.0") if number else None
    return layer.parent if layer else None


def _used(assigned: Assignment) -> set[str]:
    """Paths of the modules in which used layers lie."""
    return {owner for layer in assigned.layers.values() for owner in _ancestors(layer.path)}


def _ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:depth]) for depth in range(len(parts))]


def _check(module: StandIn, path: str, name: str, known: set[Any]) -> None:
    """Refuse an attribute with another value than the known ones; one that is not stored says nothing."""
    value = module.state.get(name)
    plain = value if type(value) is not tuple else (value if all(type(item) is int for item in value) else None)
    if name in module.state and (isinstance(plain, list | dict | StandIn) or plain not in known):
        shown = shorten(plain, 40) if isinstance(plain, int | float | str) else "something else"
        raise BadInput(f"{path} has {name} {shown}, where {' or '.join(sorted(map(repr, known)))} is known")

"""Which tensor of a saved object is which part of an AstroMAE.

Names of submodules differ between versions of the published classes and of timm, so what counts is structure: the
kind, order and shapes of the layers, and which lie beside each other. A few names never change and are relied on: the
number of a block, `qkv`, `q_bias` and `v_bias`, `cls` and `pos` in the names of the tokens. Where structure does not
decide, nothing is guessed: the checkpoint is refused.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from inference.contract.counted import listed
from inference.errors import BadInput
from tasks.checkpoint_import.pickled import Weight

_UNITS = (1, 1, 3, 1, 5, 1)  # kernel sizes of an inception block's convolutions, in the contract's order
_INCEPTION_BLOCKS = (2, 3, 5, 6, 8)  # their places in the model's inception branch
_UNIT_NAMES = ("one", "three.0", "three.1", "five.0", "five.1", "pool.1")
_QKV = re.compile(r"(?P<container>.+)\.(?P<number>\d{1,4})\.(?:.+\.)?qkv")


@dataclass
class Layer:
    """The tensors of one module: a convolution, a linear layer, a norm, or a few tensors of their own."""

    path: str
    tensors: dict[str, Weight] = field(default_factory=dict)

    @property
    def parent(self) -> str:
        """Path of the module that it lies in."""
        return self.path.rpartition(".")[0]

    @property
    def kind(self) -> str:
        """Its kind: "convolution", "linear layer", "batch norm", "layer norm" or "tensors"."""
        weight = self.tensors.get("weight")
        kinds = {
            4: "convolution",
            2: "linear layer",
            1: "batch norm" if "running_mean" in self.tensors else "layer norm",
        }
        return kinds.get(len(weight.shape), "tensors") if weight else "tensors"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its weight: outputs, inputs, and of a convolution height and width."""
        return self.tensors["weight"].shape

    def names(self) -> list[str]:
        """Full names of its tensors."""
        return [f"{self.path}.{name}".lstrip(".") for name in self.tensors]


@dataclass(frozen=True)
class Assignment:
    """What each layer of the file is.

    Attributes:
        layers: by the name that the layer has in `inference.model.astromae.AstroMAE`.
        singles: tensors that lie in no layer, as (tensor's name in the file, tensor), by their name in the model.
        unused: names of the file's tensors that the model has no use for, and why.
        blocks: path of the container of the transformer blocks.
    """

    layers: dict[str, Layer]
    singles: dict[str, tuple[str, Weight]]
    unused: dict[str, str]
    blocks: str


def assign_layers(tensors: dict[str, Weight], same: Callable[[Layer, Layer], bool]) -> Assignment:
    """Tell what each layer is.

    Args:
        tensors: as `flatten` names them.
        same: whether two layers hold the same numbers.

    Raises:
        BadInput: naming what is missing, surplus or ambiguous.
    """
    unused = {name: "decoder of the masked autoencoder" for name in tensors if re.search(r"(^|\.)decoder", name)}
    unused |= {name: "mask token" for name in tensors if name.rpartition(".")[2] == "mask_token"}
    layers: dict[str, Layer] = {}
    twins: dict[frozenset[tuple[str, Weight]], str] = {}
    for name, tensor in tensors.items():
        if name not in unused:
            path, _, last = name.rpartition(".")
            layers.setdefault(path, Layer(path)).tensors[last] = tensor
    for path, layer in list(layers.items()):
        first = twins.setdefault(frozenset(layer.tensors.items()), path)
        if first != path:  # one module under two names
            unused |= dict.fromkeys(layers.pop(path).names(), f"the same as {first}")
    found = [match for path in layers if (match := _QKV.fullmatch(path))]
    containers = sorted({match["container"] for match in found})
    if len(containers) != 1:
        raise BadInput(
            f"it has transformer blocks in {', '.join(containers)[:200]}, and an AstroMAE has one encoder"
            if containers
            else "it has no transformer block (no tensor is named as blocks.0.attn.qkv.weight is)"
        )
    container = containers[0]
    numbers = sorted(int(match["number"]) for match in found)
    if numbers != list(range(len(numbers))):
        raise BadInput(f"the blocks in {container} are numbered {str(numbers)[1:-1]:.100}, not from 0 on without a gap")
    assigned = Assignment({}, {}, unused, container)
    for number in numbers:
        _assign_block(
            assigned,
            [layer for path, layer in layers.items() if f"{path}.".startswith(f"{container}.{number}.")],
            number,
        )
    outside = [layer for path, layer in layers.items() if not f"{path}.".startswith(f"{container}.")]
    _assign_tokens(assigned, outside)
    _assign_inception(assigned, outside, same)
    _assign_norm(assigned, outside)
    _assign_linear(assigned, [layer for layer in outside if layer.kind == "linear layer"])
    taken = {name for layer in assigned.layers.values() for name in layer.names()} | {
        n for n, _ in assigned.singles.values()
    }
    surplus = [name for name in tensors if name not in taken and name not in unused]
    if surplus:
        shown = listed((f"{name!r:.100}" for name in surplus), most=1)
        raise BadInput(f"it holds the tensor {shown}, for which an AstroMAE has no place")
    return assigned


def _assign_block(assigned: Assignment, layers: Sequence[Layer], number: int) -> None:
    where, ours = f"block {assigned.blocks}.{number}", f"encoder.blocks.{number}"
    norms = _exactly(2, layers, "layer norm", where)
    qkv = next(layer for layer in layers if layer.path.endswith("qkv"))
    linear = _exactly(3, [layer for layer in layers if layer is not qkv], "linear layer", where)
    linear.sort(key=lambda layer: layer.parent != qkv.parent)  # the projection lies beside qkv
    names = ("norm_attention", "norm_mlp", "attention.project", "mlp.0", "mlp.2", "attention.qkv")
    assigned.layers.update({f"{ours}.{name}": layer for name, layer in zip(names, [*norms, *linear, qkv], strict=True)})
    if any(layer.kind in {"convolution", "batch norm"} for layer in layers):
        first, second = _exactly(2, layers, "convolution", where)
        (norm,) = _exactly(1, layers, "batch norm", where)
        assigned.layers.update(
            {f"{ours}.convolution.0": first, f"{ours}.convolution.1": norm, f"{ours}.convolution.3": second}
        )
    for layer in layers:
        for name, tensor in layer.tensors.items():
            if layer.kind == "tensors" and name in {"q_bias", "v_bias"}:
                assigned.singles[f"{ours}.attention.{name}"] = (f"{layer.path}.{name}", tensor)


def _assign_tokens(assigned: Assignment, layers: Sequence[Layer]) -> None:
    """Class token and positional embedding, which lie in no layer of their own."""
    for ours, meant in (("encoder.class_token", r"cls|class"), ("encoder.positions", r"pos")):
        found = [
            (f"{layer.path}.{name}".lstrip("."), tensor)
            for layer in layers
            for name, tensor in layer.tensors.items()
            if len(tensor.shape) == 3 and re.search(meant, name)
        ]
        if len(found) > 1:
            raise BadInput(f"both {found[0][0]} and {found[1][0]} may be the encoder's, and it has one such tensor")
        if found:
            assigned.singles[ours] = found[0]
    if "encoder.positions" not in assigned.singles:
        raise BadInput("it lacks the encoder's positional embedding (a tensor such as pos_embed)")


def _assign_inception(assigned: Assignment, layers: Sequence[Layer], same: Callable[[Layer, Layer], bool]) -> None:
    """Patch embedding, the bare first convolution of the inception branch, and its thirty convolutions with a norm."""
    units, bare = [], []
    for layer in layers:
        if layer.kind == "convolution":
            beside = [other for other in layers if other.parent == layer.parent]
            convolutions = [other for other in beside if other.kind == "convolution"]
            norms = [other for other in beside if other.kind == "batch norm"]
            if norms and len(norms) == len(convolutions):
                units.append((layer, norms[convolutions.index(layer)]))
            else:
                bare.append(layer)
    patches = [layer for layer in bare if "patch" in layer.path] or [layer for layer in bare if layer.shape[2] > 1]
    stems = [layer for layer in bare if layer not in patches]
    for twin in stems[1:]:  # the published class registers this module twice
        if twin.shape == stems[0].shape and same(twin, stems[0]):
            stems.remove(twin)
            assigned.unused.update(dict.fromkeys(twin.names(), f"the same as {stems[0].path}"))
    if len(patches) != 1 or len(stems) != 1:
        raise BadInput(
            f"beside the blocks it has the convolutions {_paths(bare)} without a batch norm,"
            " where an AstroMAE has its patch embedding and the first one of its inception branch"
        )
    assigned.layers.update({"encoder.patches": patches[0], "inception.0": stems[0]})
    sizes = tuple(convolution.shape[2] for convolution, _ in units)
    if sizes != _UNITS * 5:
        raise BadInput(
            f"its inception branch has convolutions of the sizes {str(sizes)[1:-1]:.120},"
            f" not five times {str(_UNITS)[1:-1]}"
        )
    for place, (convolution, norm) in enumerate(units):
        block, unit = divmod(place, len(_UNITS))
        ours = f"inception.{_INCEPTION_BLOCKS[block]}.{_UNIT_NAMES[unit]}"
        assigned.layers.update({f"{ours}.0": convolution, f"{ours}.1": norm})
    for block in range(5):
        paths = [convolution.path for convolution, _ in units[6 * block : 6 * block + 6]]
        if "pool" in paths[0] and "pool" not in paths[5]:
            raise BadInput(
                f"the pooled branch comes first in the inception block of {paths[0]}; it is known as the last"
            )


def _assign_norm(assigned: Assignment, layers: Sequence[Layer]) -> None:
    """The norm of the encoder's mean; a final norm of the encoder before the mean is not used (contract, "Model")."""
    norms = [layer for layer in layers if layer.kind == "layer norm"]
    beside = assigned.blocks.rpartition(".")[0]
    final = [layer for layer in norms if layer.path.rpartition(".")[2] == "norm" and layer.parent == beside]
    if len(norms) == 2 and len(final) == 1:
        norms.remove(final[0])
        assigned.unused.update(dict.fromkeys(final[0].names(), "final norm of the masked autoencoder's encoder"))
    if len(norms) != 1:
        raise BadInput(f"beside the blocks it has {_counted(norms, 'layer norm')}, where an AstroMAE has one")
    assigned.layers["encoder_head.0"] = norms[0]


def _assign_linear(assigned: Assignment, layers: Sequence[Layer]) -> None:
    """Sort the linear layers beside the blocks into the heads of the branches, the magnitude MLP and the last head."""
    bands = assigned.layers["encoder.patches"].shape[1]
    width = assigned.layers["encoder.patches"].shape[0]
    chains: list[list[Layer]] = []
    for layer in layers:
        if chains and chains[-1][-1].parent == layer.parent and chains[-1][-1].shape[0] == layer.shape[1]:
            chains[-1].append(layer)
        else:
            chains.append([layer])
    head = _one(chains, lambda chain: chain[-1].shape[0] == 1, "that end in one number, the redshift", 2)
    magnitudes = _one(chains, lambda chain: chain[0].shape[1] == bands, f"that begin at the {bands} magnitudes")
    rest = [chain for chain in chains if chain is not head and chain is not magnitudes]
    if sum(map(len, rest)) > 5:
        for chain in [chain for chain in rest if len(chain) == 1 and _classifies(chain[0], assigned.blocks, width)]:
            rest.remove(chain)
            assigned.unused.update(dict.fromkeys(chain[0].names(), "classification head of the encoder"))
    inception = _after_inception(
        [chain for chain in rest if len(chain) == 2], assigned.layers["inception.2.one.0"], width
    )
    rows = sorted((chain for chain in rest if chain is not inception), key=len)  # the lone layer comes before the pair
    encoder = [layer for chain in rows for layer in chain]
    if len(encoder) != 3:
        raise BadInput(f"the linear layers {_paths(encoder)} are left for the encoder's head, which has three of them")
    places = {"head": (0, 2), "magnitudes": range(0, 2 * len(magnitudes), 2), "inception_head": (1, 3)}
    for (ours, numbers), chain in zip(
        [*places.items(), ("encoder_head", (1, 2, 4))], [head, magnitudes, inception, encoder], strict=True
    ):
        assigned.layers.update({f"{ours}.{number}": layer for number, layer in zip(numbers, chain, strict=True)})


def _classifies(layer: Layer, blocks: str, width: int) -> bool:
    """Whether a linear layer is the classification head that timm's encoder brings along."""
    beside = layer.parent == blocks.rpartition(".")[0]
    return beside and layer.path.rpartition(".")[2] == "head" and layer.shape[1] == width != layer.shape[0]


def _after_inception(pairs: Sequence[list[Layer]], convolution: Layer, width: int) -> list[Layer]:
    """The pair of linear layers that lies nearest the inception branch, or says so, or alone fits it."""
    trunk = convolution.path.split(".")

    def nearness(pair: list[Layer]) -> int:
        both = zip(trunk, pair[0].path.split("."), strict=False)
        return next((depth for depth, (ours, theirs) in enumerate(both) if ours != theirs), len(trunk))

    nearest = max(map(nearness, pairs), default=0)
    for candidates in (
        [pair for pair in pairs if nearness(pair) == nearest],
        [pair for pair in pairs if "incept" in pair[0].path.lower()],
        [pair for pair in pairs if pair[0].shape[1] != width],
    ):
        if len(candidates) == 1:
            return candidates[0]
    raise BadInput(
        f"it is not clear which of the pairs of linear layers at {_paths([pair[0] for pair in pairs])}"
        " follows the inception branch"
    )


def _one(
    chains: Sequence[list[Layer]], fits: Callable[[list[Layer]], bool], what: str, length: int | None = None
) -> list[Layer]:
    found = [chain for chain in chains if fits(chain)]
    if len(found) != 1 or length not in {None, len(found[0])}:
        counted = f"{length or 'some'} linear layers {what}"
        raise BadInput(f"of {counted} it has {_paths([chain[0] for chain in found])}, where an AstroMAE has one row")
    return found[0]


def _exactly(count: int, layers: Sequence[Layer], kind: str, where: str) -> list[Layer]:
    found = [layer for layer in layers if layer.kind == kind]
    if len(found) != count:
        are = "is" if count == 1 else "are"
        raise BadInput(f"{where} has {_counted(found, kind)}, where {count} {are} known")
    return found


def _counted(layers: Sequence[Layer], kind: str) -> str:
    return f"the {kind}{'s' * (len(layers) > 1)} {_paths(layers)}" if layers else f"no {kind}"


def _paths(layers: Sequence[Layer]) -> str:
    return listed((layer.path[:80] for layer in layers), most=8) or "none"

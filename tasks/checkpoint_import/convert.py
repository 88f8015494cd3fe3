"""Published checkpoints, which are pickled modules, as `.safetensors`; nothing of them is executed.

Contract, "Model" and fault 11. `torch_file` reads the file, `flatten` finds the model in it, `layers` decides which
tensor is which part of the model, `infer_config` infers the config. Every tensor of the model is used exactly once, or
is on the list of those that an AstroMAE has no use for.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inference.contract.counted import counted, listed
from inference.errors import BadCheckpoint, BadInput
from inference.model.checkpoint import content_hash, save
from inference.model.config import AstroMAEConfig
from inference.model.require_torch import require_torch
from tasks.checkpoint_import.flatten import Saved, choose, flatten, shown
from tasks.checkpoint_import.infer_config import Inferred, infer
from tasks.checkpoint_import.layers import Assignment, Layer, assign_layers
from tasks.checkpoint_import.pickled import Weight
from tasks.checkpoint_import.torch_file import SavedFile, read_file

if TYPE_CHECKING:
    import torch

    from inference.model.astromae import AstroMAE

_COUNTER = "num_batches_tracked"
_FLOATS = {"float16", "bfloat16", "float32", "float64"}
_BUFFERS = ("running_mean", "running_var", _COUNTER)


@dataclass(frozen=True)
class Imported:
    """What an import found and wrote.

    Attributes:
        config: of the model.
        parameters: numbers in the file that training could change, the unused 5x5 branch among them; without running
            statistics.
        tensors_read: tensors of the file that went into the model.
        unused: names of the others, and why each is not used.
        notes: sentences on what was converted or assumed.
        source_sha256: of the file read; also in the card of the file written.
        sha256: of the file written.
    """

    config: AstroMAEConfig
    parameters: int
    tensors_read: int
    unused: dict[str, str]
    notes: tuple[str, ...]
    source_sha256: str
    sha256: str


def import_checkpoint(
    source: Path,
    out: Path,
    heads: int | None = None,
    weights: str = "model",
    *,
    check: Callable[[], None] = lambda: None,
) -> Imported:
    """Write the weights of a file of `torch.save`, whole module or state dict, as a checkpoint of ours.

    Args:
        source: the file, of either format of torch, or safetensors with the names of a state dict.
        out: the `.safetensors` file, written in one step; the source's name and SHA-256 go into its card.
        heads: of the attention, for a file that does not say; a state dict never does.
        weights: which of several models in the file: "model", "ema" for averaged weights, or its name in the file.
        check: called before the result is written; what it raises is passed on, and nothing is written.

    Raises:
        BadInput: torch is not installed.
        BadCheckpoint: naming the file: it cannot be read, is truncated, names globals beyond the known ones, is no
            AstroMAE, lacks or holds tensors, or has weights of a wrong type or not finite. Nothing is written then.
        StoreError: the result cannot be written.
    """
    require_torch("import-checkpoint")
    try:
        saved = read_file(source)
        flat, assigned = _assigned(saved, flatten(saved.root, weights))
        inferred = infer(assigned, flat.modules, heads)
        model, notes = _filled(saved, assigned, inferred)
    except BadInput as error:
        raise BadCheckpoint(f"{source}: {error}") from None
    notes = (*flat.notes, *notes, *inferred.assumed)
    card = {"imported_from": {"file": source.name, "sha256": saved.sha256, "notes": list(notes)}}
    check()
    save(out, model, card)
    names = [name for layer in assigned.layers.values() for name in layer.names()]
    names += [name for name, _ in assigned.singles.values()]
    trained = [name for name in names if name.rpartition(".")[2] not in _BUFFERS]
    return Imported(
        config=inferred.config,
        parameters=sum(_count(flat.tensors[name]) for name in trained),
        tensors_read=len(names),
        unused=assigned.unused,
        notes=notes,
        source_sha256=saved.sha256,
        sha256=content_hash(out),
    )


def _assigned(saved: SavedFile, flat: Saved) -> tuple[Saved, Assignment]:
    """The model and what each of its layers is; where the file holds more beside it, that is left out with a note."""

    def same(one: Layer, other: Layer) -> bool:
        return _same(saved, one, other)

    try:
        if flat.weights != "model":
            raise BadInput(
                f"it holds no weights under such a name as --weights {shown(flat.weights)} asks for"
                " (averaged ones lie under one such as model_ema)"
            )
        return flat, assign_layers(flat.tensors, same)
    except BadInput as error:
        whole = error
        groups = flat.groups()
        complete: dict[str, Assignment] = {}
        for start, group in groups.items():
            try:
                complete[start] = assign_layers(group.tensors, same)
            except BadInput as error:
                if len(group.tensors) > 0.9 * len(flat.tensors):
                    whole = error
        if not complete:
            raise whole from None
        notes = list(flat.notes)
        taken, left = choose(list(complete), flat.weights, notes)
        if left != "model":
            raise whole from None
        others = [name for name in flat.tensors if name.partition(".")[0] not in complete]
        if others:
            notes.append(f"ignored beside the model {shown(taken)}: {listed(map(shown, others))}")
        return replace(groups[taken], notes=tuple(notes)), complete[taken]


def _filled(saved: SavedFile, assigned: Assignment, inferred: Inferred) -> tuple["AstroMAE", tuple[str, ...]]:
    """The model with the file's weights, and what was done to them."""
    import torch

    from inference.model.astromae import AstroMAE

    with torch.device("meta"):
        model = AstroMAE(inferred.config)
    wanted = model.state_dict()
    parts = {
        f"{ours}.{name}": (full, weight)
        for ours, layer in assigned.layers.items()
        for full, (name, weight) in zip(layer.names(), layer.tensors.items(), strict=True)
    } | assigned.singles
    missing = [name for name in wanted if name not in parts and not name.endswith(_COUNTER)]
    surplus = [theirs for name, (theirs, _) in parts.items() if name not in wanted]
    if surplus:
        raise BadInput(f"it holds the tensor {surplus[0]!r:.100}, for which an AstroMAE has no place")
    if missing:
        lacking = listed((_theirs(name, assigned) for name in missing), most=1)
        raise BadInput(f"it lacks the tensor {lacking}")
    _check_size(saved, [weight for _, weight in parts.values()])
    weights, converted = {}, Counter[str]()
    for ours, form in wanted.items():
        if ours not in parts:  # how many batches training saw; torch has stored it since 0.4.1, and nothing uses it
            weights[ours] = torch.zeros((), dtype=torch.int64)
            continue
        theirs, weight = parts[ours]
        shape, narrow = tuple(form.shape), inferred.convolution_kernel == 1 and _is_convolution(ours)
        if weight.shape != ((*shape[:2], 1, 1) if narrow else shape):
            raise BadInput(f"tensor {theirs} has the shape {list(weight.shape)}; the others make it {list(shape)}")
        weights[ours] = _converted(theirs, saved.tensor(theirs, weight), form)
        if form.is_floating_point() and weight.storage.dtype != "float32":
            converted[weight.storage.dtype] += 1
        if narrow:
            weights[ours] = torch.nn.functional.pad(weights[ours], (1, 1, 1, 1))
    model.load_state_dict(weights, assign=True)
    notes = [
        f"{counted(count, 'tensor')} of {dtype} converted to float32" for dtype, count in sorted(converted.items())
    ]
    if inferred.convolution_kernel == 1:
        notes.append("the 1x1 convolutions beside attention stored as 3x3 with zeros around, which computes the same")
    return model.eval(), tuple(notes)


def _theirs(ours: str, assigned: Assignment) -> str:
    """What a tensor of the model is called in the file, where its layer is there; else what the model calls it."""
    place, _, last = ours.rpartition(".")
    return f"{assigned.layers[place].path}.{last}" if place in assigned.layers else ours


def _converted(name: str, tensor: "torch.Tensor", form: "torch.Tensor") -> "torch.Tensor":
    """The tensor in the model's type, once it is known to be of that kind and finite."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if not form.is_floating_point():
        if dtype != "int64":
            raise BadInput(f"tensor {name} is {dtype}, not int64")
        return tensor
    if dtype not in _FLOATS:
        raise BadInput(f"tensor {name} is {dtype}; weights are floating-point numbers")
    if wrong := int((~tensor.isfinite()).sum()):
        raise BadInput(
            f"tensor {name} holds NaN or infinite weights, {wrong:,} of {tensor.numel():,}, as a training that diverged"
            " leaves them: import a checkpoint of an earlier epoch"
        )
    narrowed = tensor.to(form.dtype)
    if not narrowed.isfinite().all():
        raise BadInput(f"tensor {name} holds weights beyond the range of single precision, in which the model computes")
    return narrowed


def _is_convolution(ours: str) -> bool:
    return ours.endswith((".convolution.0.weight", ".convolution.3.weight"))


def _check_size(saved: SavedFile, weights: list[Weight]) -> None:
    """Tensors may share their numbers, so that a small file could claim any number of large ones."""
    if sum(map(_count, weights)) > saved.size:
        raise BadInput("its tensors claim more numbers than the file has bytes")


def _count(weight: Weight) -> int:
    count = 1
    for size in weight.shape:
        count *= size
    return count


def _same(saved: SavedFile, one: Layer, other: Layer) -> bool:
    """Whether two layers hold the same numbers under the same names."""
    names = set(one.tensors)
    return names == set(other.tensors) and all(
        saved.tensor(name, one.tensors[name]).equal(saved.tensor(name, other.tensors[name])) for name in names
    )

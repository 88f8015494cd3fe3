"""Weights in and out: `.safetensors` with the config in the header, and the graph exported from them.

Only `load` and `save`, which have to do with a model of torch, import torch.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from inference.contract.counted import listed
from inference.contract.json_text import parse_json
from inference.errors import BadCheckpoint, BadInput
from inference.model.config import AstroMAEConfig
from inference.model.require_torch import require_torch
from inference.model.tensor_shapes import BATCH_COUNT, tensor_shapes
from inference.model.training_data import TrainingData
from inference.storage.atomic_write import atomic_write

if TYPE_CHECKING:
    from inference.model.astromae import AstroMAE

# One key, because the library writes several in random order, and the same weights must give the same bytes.
_KEY = "cosmic"
_FORMAT = 1
_MAX_HEADER = 1 << 20  # the full-size model's takes 40 kB; the format itself allows 100 MB
_FLOATS = {"F32", "F16", "BF16"}
_EXPORT = 2  # raised with every change to what is exported, so that no older graph is taken for it


def read_config(path: Path) -> AstroMAEConfig:
    """Read the config from a checkpoint's header, and nothing else of the file.

    Raises:
        BadCheckpoint: naming the file: not there, no safetensors file, damaged, or its config is wrong.
    """
    return read_header(path)[0]


def read_header(path: Path) -> tuple[AstroMAEConfig, TrainingData | None]:
    """Read config and facts of the training data, None where there are none, from a checkpoint's header.

    Raises:
        BadCheckpoint: see `read_config`; or a fact is wrong.
    """
    with _opened(path, "numpy") as file:
        return _header(path, file)


def content_hash(path: Path) -> str:
    """SHA-256 of the file in hexadecimal.

    Raises:
        BadCheckpoint: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadCheckpoint(f"cannot read {path}: {error.strerror}") from None


def save(
    path: Path,
    model: "AstroMAE",
    metadata: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
    training_data: TrainingData | None = None,
) -> None:
    """Write weights and config, replacing what was there in one step; the same weights give the same bytes.

    Args:
        path: the file, by custom `.safetensors`.
        model: its weights, on any device.
        metadata: facts for the header's card, such as seed and metrics; anything that JSON holds.
        half: in half precision, at half the size; `load` widens it again.
        training_data: what the model was trained on, where that is known.

    Raises:
        BadInput: a weight is beyond what half precision holds.
        StoreError: the file cannot be written.
    """
    import safetensors.torch
    import torch

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            if tensor.dtype == torch.float16 and not tensor.isfinite().all():
                raise BadInput(f"the tensor {name} is beyond what half precision holds (65,504)")
    data = safetensors.torch.save(tensors, _facts(model.config, metadata, training_data))
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def checkpoint_bytes(
    config: AstroMAEConfig, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any] | None = None
) -> bytes:
    """What `save` writes, from arrays, without torch.

    Args:
        config: of the model.
        tensors: all of its `inference.model.tensor_shapes`, by name: float32, or int64 for a batch norm's count.
        metadata: facts for the header's card.
    """
    import safetensors.numpy

    return bytes(safetensors.numpy.save(dict(tensors), _facts(config, metadata, None)))


def _facts(
    config: AstroMAEConfig, metadata: Mapping[str, Any] | None, training_data: TrainingData | None
) -> dict[str, str]:
    """The header's metadata."""
    header = {"format": _FORMAT, "config": config.to_dict(), "card": dict(metadata or {})}
    if training_data is not None:
        header["training_data"] = training_data.to_dict()
    return {_KEY: json.dumps(header)}


def load(path: Path) -> "AstroMAE":
    """Build the model that a checkpoint describes, in evaluation mode, on the CPU, in float32.

    Raises:
        BadInput: torch is not installed.
        BadCheckpoint: see `read_weights`.
    """
    require_torch("a model in torch")
    import torch

    from inference.model.astromae import AstroMAE

    config, arrays = read_weights(path)
    with torch.device("meta"):
        model = AstroMAE(config)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, assign=True)
    return model.eval()


def read_weights(path: Path) -> tuple[AstroMAEConfig, dict[str, np.ndarray]]:
    """Read config and tensors of a checkpoint, without torch.

    Names, shapes and types are compared before any tensor is read.

    Returns:
        The config, and each tensor by name: float32, widened from half precision, or int64 for a batch norm's count.

    Raises:
        BadCheckpoint: naming file and tensor: see `read_config`; a tensor is missing, surplus, of another shape or
            type, or not finite.
    """
    import ml_dtypes  # noqa: F401 - teaches numpy the name bfloat16, which safetensors asks for

    weights = {}
    with _opened(path, "numpy") as file:
        config, _ = _header(path, file)
        wanted = tensor_shapes(config)
        _same_names(path, set(wanted), set(file.keys()))
        for name, shape in wanted.items():
            is_float = not name.endswith(BATCH_COUNT)
            _same_form(path, name, file.get_slice(name), list(shape), _FLOATS if is_float else {"I64"})
        for name in wanted:
            # Copied, because the library's array may be a view of the file, which may change.
            weights[name] = file.get_tensor(name).astype(np.int64 if name.endswith(BATCH_COUNT) else np.float32)
            if not np.isfinite(weights[name]).all():
                raise BadCheckpoint(f"{path}: tensor {name} holds NaN or infinite weights")
    return config, weights


def graph_name(stem: str, sha256: str, precision: str) -> str:
    """The file name of the graph exported from weights.

    Args:
        stem: the weights' file name, without `.safetensors`.
        sha256: their content hash.
        precision: of the graph, "float32" or "int8".

    Example:
        >>> graph_name("demo", "ab" * 32, "int8")
        'demo.abababababababab-2-int8.onnx'
    """
    kind = f"{_EXPORT}" if precision == "float32" else f"{_EXPORT}-{precision}"
    return f"{stem}.{sha256[:16]}-{kind}.onnx"


def onnx_path(weights: Path, precision: str = "float32") -> Path:
    """Where the graph exported from these weights lies or will lie.

    Beside the weights, or under ~/.cache/cosmic-flows where nothing can be written there. The name holds the content
    of the weights and what exports them: a change to either makes another graph.

    Raises:
        BadCheckpoint: the weights cannot be read.
    """
    name = graph_name(weights.stem, content_hash(weights), precision)
    beside = weights.with_name(name)
    if beside.exists() or os.access(weights.parent, os.W_OK):
        return beside
    return Path.home() / ".cache" / "cosmic-flows" / name


def export_onnx(weights: Path, precision: str = "float32") -> Path:
    """Export the weights as an ONNX graph of any batch size, unless that was done before.

    Callers may race: each writes a file of its own, and the last to finish replaces the others' equal one.

    Returns:
        The graph (`inference.model.onnx_graph`) for "float32" or "int8"; weights inside.

    Raises:
        BadInput: nothing can be exported here: a function's package has no exporter.
        BadCheckpoint: see `read_weights`.
        StoreError: the graph cannot be written.
    """
    graph = onnx_path(weights, precision)
    if not graph.exists():
        try:
            from inference.model.onnx_graph import graph_of
        except ModuleNotFoundError:
            raise BadInput(
                f"graph: {weights.name} comes without its exported graph, and nothing can be exported here:"
                " name it in the event (`cosmic run` exports and names it)"
            ) from None

        config, tensors = read_weights(weights)
        data = graph_of(config, tensors, content_hash(weights), read_header(weights)[1], int8=precision == "int8")
        with atomic_write(graph) as partial:
            partial.write_bytes(data.SerializeToString())
    return graph


def _opened(path: Path, framework: str) -> Any:
    """The file, once its first bytes are known to be harmless."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
        # A header's length may begin with any byte: what follows it distinguishes the two.
        if start.startswith((b"PK", b"\x80")) and start[8:] != b"{":
            raise BadCheckpoint(
                f"{path} is a pickled checkpoint; only .safetensors files are read, which cannot execute anything:"
                " `cosmic import-checkpoint` turns a published one into such"
            )
        header = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or header > _MAX_HEADER:
            raise BadCheckpoint(f"{path} is not a safetensors file of weights")
        return safe_open(path, framework)
    except OSError as error:
        raise BadCheckpoint(f"cannot read {path}: {error.strerror}") from None
    except SafetensorError as error:
        raise BadCheckpoint(f"{path} is damaged or truncated: {error}") from None


def _header(path: Path, file: Any) -> tuple[AstroMAEConfig, TrainingData | None]:
    text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise BadCheckpoint(f"{path} has no config of an AstroMAE in its header (key {_KEY!r})")
    try:
        header = parse_json(text, "its header")
        form, config = header["format"], header["config"]
    except (BadInput, TypeError, KeyError):
        raise BadCheckpoint(f"{path} has a damaged config in its header") from None
    if form != _FORMAT:
        raise BadCheckpoint(f"{path} is of checkpoint format {form!r:.20}; this version reads {_FORMAT}")
    try:
        facts = header.get("training_data")
        return AstroMAEConfig.from_dict(config), None if facts is None else TrainingData.from_dict(facts)
    except BadInput as error:
        raise BadCheckpoint(f"{path}: {error}") from None


def _same_names(path: Path, wanted: set[str], found: set[str]) -> None:
    for what, names in (("lacks", wanted - found), ("holds, beyond its config,", found - wanted)):
        if names:
            shown = listed((f"{name!r:.80}" for name in sorted(names)), most=1)
            raise BadCheckpoint(f"{path} {what} the tensor {shown}")


def _same_form(path: Path, name: str, found: Any, shape: list[int], types: set[str]) -> None:
    if found.get_shape() != shape:
        raise BadCheckpoint(f"{path}: tensor {name} has the shape {found.get_shape()}; the config wants {shape}")
    if found.get_dtype() not in types:
        raise BadCheckpoint(f"{path}: tensor {name} is {found.get_dtype()}, not {' or '.join(sorted(types))}")

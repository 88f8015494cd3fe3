"""A model of somebody's own, as an `.onnx` file: checked without being run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inference.errors import BadCheckpoint

_STANDARD = {"", "ai.onnx"}
_DOMAINS = {*_STANDARD, "ai.onnx.ml", "com.microsoft"}  # whose operators are built into onnxruntime
_MAX_FILE = (2 << 30) - 1  # of protobuf


def is_onnx_file(path: Path | str) -> bool:
    """Whether a model is an `.onnx` file of its own rather than a checkpoint, by its name."""
    return str(path).lower().endswith(".onnx")


def check_onnx_file(path: Path) -> None:
    """Refuse a graph that onnxruntime could not run by itself; shapes are the engine's to check.

    Raises:
        BadCheckpoint: naming the file: it is no ONNX model, its weights lie in other files, or it needs operators or an
            operator set that onnxruntime does not have.
    """
    import onnx

    try:
        if path.stat().st_size > _MAX_FILE:
            raise BadCheckpoint(f"{path} has more than 2 GB, which no ONNX file has")
        data = path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"cannot read {path}: {error.strerror}") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # noqa: BLE001 - protobuf's error, of a package that is nobody's dependency
        raise BadCheckpoint(f"{path} is no ONNX model, or it is damaged") from None
    if not model.graph.output:
        raise BadCheckpoint(f"{path} is no ONNX model, or it is damaged")
    if model.ir_version > onnx.IR_VERSION:
        raise BadCheckpoint(f"{path} is in version {model.ir_version} of ONNX; at most {onnx.IR_VERSION} is known here")
    if not any(opset.domain in _STANDARD and opset.version > 0 for opset in model.opset_import):
        raise BadCheckpoint(f"{path} does not say which operator set of ONNX it needs (its opset_import)")
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in _STANDARD and opset.version > newest:
            raise BadCheckpoint(f"{path} needs operator set {opset.version}; at most {newest} is known here")
    own = {function.domain for function in model.functions}
    graphs = [model.graph, *model.functions]
    for node in (node for graph in graphs for node in _nodes(graph)):
        if node.domain not in _DOMAINS | own:
            raise BadCheckpoint(
                f"{path} needs the operator {node.op_type[:60]!a} of {node.domain[:60]!a}, which onnxruntime lacks"
            )
        if node.domain in _STANDARD - own and not onnx.defs.has(node.op_type):
            raise BadCheckpoint(f"{path} needs the operator {node.op_type[:60]!a}, which ONNX does not have")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graphs)):
        raise BadCheckpoint(
            f"{path} keeps its weights in another file: export it with external_data=False, so that all is in one"
        )


def _nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph or function and of the graphs inside their attributes."""
    open_ = [graph]
    while open_:
        for node in open_.pop().node:
            yield node
            for attribute in node.attribute:
                open_ += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _tensors(graphs: list[Any]) -> Iterator[Any]:
    """All tensors that a model stores: initializers and attributes, also of graphs inside graphs."""
    open_ = list(graphs)
    while open_:
        graph = open_.pop()
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from ([attribute.t] if attribute.HasField("t") else [])
                yield from attribute.tensors
                open_ += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]

"""Engines compute redshifts: `onnxruntime` on CPUs, `torch` on CUDA or for a debugger; their answers agree within 1e-5.

Importing this module imports neither; each is imported when an engine of it is opened.
"""

import os
from pathlib import Path

from inference.contract.run_request import ENGINES, PRECISIONS
from inference.engines.base import Engine
from inference.errors import BadInput
from inference.model.checkpoint import content_hash, export_onnx, read_config
from inference.model.onnx_file import is_onnx_file
from inference.model.require_torch import require_torch


def open_engine(
    name: str, weights: Path, graph: Path | None = None, threads: int = 0, precision: str = "float32"
) -> Engine:
    """Load a model into an engine.

    Args:
        name: one of `ENGINES`.
        weights: the checkpoint, of which the onnxruntime engine reads config and content hash only; or an `.onnx` file
            of somebody's own.
        graph: the graph exported from it, which spares the onnxruntime engine torch; None looks for it, and exports it
            if need be. The torch engine needs none.
        threads: how many it computes with; 0 is one for every core.
        precision: of the arithmetic, one of the engine's in `PRECISIONS`; the graph is exported for one.

    Raises:
        BadInput: no such engine, no such precision, or a negative number of threads.
        BadCheckpoint: weights or graph are broken, or the graph is another model's.
    """
    if name not in ENGINES:
        raise BadInput(f"engine must be one of {', '.join(ENGINES)}, not {name!r:.60}")
    if threads < 0:
        raise BadInput(f"threads must be 0, for all cores, or more, not {threads}")
    if precision not in PRECISIONS[name]:
        raise BadInput(
            f"precision must be one of {', '.join(PRECISIONS[name])} with engine {name}, not {precision!r:.40}"
        )
    threads = threads or os.cpu_count() or 1
    if is_onnx_file(weights):
        if name != "onnxruntime" or precision != "float32":
            raise BadInput(f"an .onnx model runs in engine onnxruntime in float32, not in engine {name} in {precision}")
        from inference.engines.onnx_file_engine import OnnxFileEngine

        return OnnxFileEngine(weights, threads)
    if name == "torch":
        require_torch("engine torch")
        from inference.engines.torch_engine import TorchEngine

        return TorchEngine(weights, threads, precision)
    read_config(weights)
    return open_graph(graph or export_onnx(weights, precision), content_hash(weights), threads, precision)


def open_graph(graph: Path, sha256: str, threads: int = 0, precision: str = "float32") -> Engine:
    """Load an exported graph into the engine `onnxruntime`, which needs no weights beside it.

    Args:
        graph: exported for this precision.
        sha256: content hash of the weights that it must have been exported from.
        threads: how many it computes with; 0 is one for every core.
        precision: what the graph was exported for.

    Raises:
        BadCheckpoint: the graph is broken, or not that one.
    """
    from inference.engines.onnx_engine import OnnxEngine

    return OnnxEngine(graph, sha256, threads or os.cpu_count() or 1, precision)

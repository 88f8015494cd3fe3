"""The floor under inference: the best rate at which this machine multiplies float32 matrices, by whatever library."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.parts.full_size import seconds

_SHAPES = {"1024": (1024, 1024, 1024), "2048": (2048, 2048, 2048), "an encoder's": (544, 192, 768)}
_WORK = 8e9  # floating-point operations a trial


class BestGemm:
    """torch's and numpy's products with all threads, and onnxruntime's with a product a core.

    Attributes:
        rates: best GFLOP/s of each so far.
    """

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(cores)
        self.rates: dict[str, float] = {}
        self._trials: dict[str, tuple[float, Callable[[], object]]] = {}
        for name, (rows, inner, columns) in _SHAPES.items():
            operations = 2.0 * rows * inner * columns
            for library, multiply in _libraries(rows, inner, columns).items():
                self._trials[f"{library} {name}"] = operations, multiply
            one = _onnxruntime(rows, inner, columns)
            together = self._a_core_each(one, cores)
            self._trials[f"onnxruntime {name}, a core each"] = operations * cores, together

    def _a_core_each(self, one: Callable[[], object], cores: int) -> Callable[[], object]:
        return lambda: list(self._pool.map(lambda _: one(), range(cores)))

    def measure(self) -> float:
        """The best rate of all in one trial each, GFLOP/s."""
        best = 0.0
        for name, (operations, multiply) in self._trials.items():
            times = max(1, round(_WORK / operations))

            def often(multiply: Callable[[], object] = multiply, times: int = times) -> None:
                for _ in range(times):
                    multiply()

            rate = operations * times / seconds(often) / 1e9
            self.rates[name] = max(rate, self.rates.get(name, 0.0))
            best = max(best, rate)
        return best


def _libraries(rows: int, inner: int, columns: int) -> dict[str, Callable[[], object]]:
    import torch

    left, right, out = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
    arrays = left.numpy(), right.numpy(), out.numpy()
    return {
        "torch": lambda: torch.mm(left, right, out=out),
        "numpy": lambda: np.matmul(arrays[0], arrays[1], out=arrays[2]),
    }


def _onnxruntime(rows: int, inner: int, columns: int) -> Callable[[], object]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(size=(inner, columns)).astype(np.float32), "weight")
    shapes: dict[str, Any] = {"values": [rows, inner], "product": [rows, columns]}
    values, product = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in shapes)
    node = helper.make_node("MatMul", ["values", "weight"], ["product"])
    graph = helper.make_graph([node], "gemm", [values], [product], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {"values": rng.normal(size=(rows, inner)).astype(np.float32)}
    return lambda: session.run(None, inputs)

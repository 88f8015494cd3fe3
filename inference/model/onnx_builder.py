"""Writing an ONNX graph: nodes and constants under names that are made up, and linear maps that are multiplied out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray
CONTRIB = "com.microsoft"  # onnxruntime's own operators
# Seven bits: where a processor adds products of bytes in pairs in 16 bits (AVX2), 2 * 127 * 255 would not fit in.
_LARGEST_WEIGHT = 63


class Linear(NamedTuple):
    """x @ weight + bias: (inputs, outputs) and (outputs,); of a convolution, its kernel and bias."""

    weight: Array
    bias: Array

    def then(self, other: "Linear") -> "Linear":
        """Both as one."""
        return Linear(self.weight @ other.weight, self.bias @ other.weight + other.bias)

    def after_norm(self, norm: "Linear") -> "Linear":
        """With the scale and shift of the norm before it."""
        return Linear(norm.weight[:, None] * self.weight, norm.bias @ self.weight + self.bias)


class GraphBuilder:
    """Collects nodes and constants; a method that adds some returns the name of what comes out.

    Attributes:
        nodes, constants: as ONNX has them.

    Args:
        scope: begins every name, for graphs inside a graph.
    """

    def __init__(self, scope: str = "") -> None:
        self.scope = scope
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node with one output."""
        name = f"{self.scope}value{len(self.nodes)}"
        self.node(operator, inputs, [name], **attributes)
        return name

    def node(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """A node whose outputs have names already."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def constant(self, array: Array) -> str:
        """Numbers, rounded to float32."""
        return self._initializer(np.ascontiguousarray(array, np.float32))

    def numbers(self, *numbers: int) -> str:
        """A shape, axes or the like."""
        return self._initializer(np.array(numbers, np.int64))

    def gemm(self, values: str, linear: Linear) -> str:
        """A linear map of the rows of a matrix; one without a bias has an empty one."""
        if not linear.bias.size:
            return self.add("MatMul", [values, self.constant(linear.weight)])
        return self.add("Gemm", [values, *map(self.constant, linear)])

    def int8_gemms(self, values: str, linears: Sequence[Linear]) -> list[str]:
        """Linear maps of the same rows, which are rounded to bytes once, as their range wants; weights by column."""
        whole, scale, zero = (f"{self.scope}value{len(self.nodes)}{part}" for part in ("", "scale", "zero"))
        self.node("DynamicQuantizeLinear", [values], [whole, scale, zero])
        outputs = []
        for linear in linears:
            largest = np.abs(linear.weight).max(axis=0)
            scales = np.where(largest > 0, largest, 1.0) / _LARGEST_WEIGHT
            weight = self._initializer(np.round(linear.weight / scales).astype(np.int8))
            bias = [self.constant(linear.bias)] if linear.bias.size else []
            inputs = [whole, weight, scale, self.constant(scales), zero, "", *bias]
            outputs.append(self.add("MatMulIntegerToFloat", inputs, domain=CONTRIB))
        return outputs

    def conv(self, images: str, kernel: Linear, groups: int = 1) -> str:
        """A convolution that keeps the image's size."""
        pads = [kernel.weight.shape[-1] // 2] * 4
        return self.add("Conv", [images, *map(self.constant, kernel)], pads=pads, group=groups)

    def halved(self, images: str) -> str:
        """Means of two by two pixels."""
        return self.add("AveragePool", [images], kernel_shape=[2, 2], strides=[2, 2])

    def subgraph(self, name: str, output: str, shape: Sequence[str | int]) -> Any:
        """What was collected, as a branch of an `If`."""
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        return helper.make_graph(self.nodes, name, [], [out], self.constants)

    def _initializer(self, array: Array) -> str:
        name = f"{self.scope}constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

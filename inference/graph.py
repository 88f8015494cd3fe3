"""AstroMAE as an ONNX graph for onnxruntime: the same function as `inference.model`, with less arithmetic.

What lies between two linear maps without a non-linearity is multiplied out, in float64, and rounded once. Decision 0010
says what was tried and what each is worth. B is the batch, N the tokens, C the config's `width`. Tokens are (N * B, C),
a token of all galaxies after the other: every linear map is then one `Gemm`, and attention finds its heads unmoved.

In int8 the encoder's linear maps, 81 % of the published model's arithmetic, multiply whole numbers; all else is as it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from inference.architecture import AstroMAEConfig

Array = np.ndarray
OPSET = 20
_CONTRIB = "com.microsoft"  # onnxruntime's own operators
_BATCH_NORM_EPS = 1e-5  # torch's default, which the model keeps
# Seven bits: where a processor adds products of bytes in pairs in 16 bits (AVX2), 127 * 255 * 2 would not fit in.
_LARGEST_WEIGHT = 63


class _Linear(NamedTuple):
    """x @ weight + bias: (inputs, outputs) and (outputs,); of a convolution, its kernel and bias."""

    weight: Array
    bias: Array

    def then(self, other: "_Linear") -> "_Linear":
        """Both as one."""
        return _Linear(self.weight @ other.weight, self.bias @ other.weight + other.bias)

    def after_norm(self, norm: "_Linear") -> "_Linear":
        """With the scale and shift of the norm before it."""
        return _Linear(norm.weight[:, None] * self.weight, norm.bias @ self.weight + self.bias)


def graph_of(config: AstroMAEConfig, tensors: Mapping[str, Array], *, int8: bool = False) -> ModelProto:
    """Build the graph of a model.

    Args:
        config: the model's.
        tensors: its state, by the names of `inference.model.AstroMAE`; complete and finite.
        int8: multiply whole numbers in the encoder; the graph then has a second output, `exact`, which is float32's.

    Returns:
        Inputs `images` (B, bands, S, S) and `magnitudes` (B, bands), float32; output `redshifts` (B, 1).
    """
    builder = _Builder(config, tensors)
    others = [builder.inception_branch(), builder.magnitude_branch()]
    if int8:
        builder.join([builder.encoder_branch(), *others], "exact")
        builder.int8 = True
    builder.join([builder.encoder_branch(), *others], "redshifts")
    return builder.model()


class _Builder:
    """Collects nodes and constants; a method that adds some returns the name of what comes out."""

    def __init__(self, config: AstroMAEConfig, tensors: Mapping[str, Array]) -> None:
        self.config = config
        self.tensors = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}
        self.int8 = False
        self.nodes: list[Any] = []
        self.constants: dict[Any, Any] = {}
        self.outputs: list[str] = []

    def join(self, branches: Sequence[tuple[str, _Linear]], output: str) -> None:
        """The head, on branches that lack their last layer: each comes with it."""
        head, width = self._linear("head.0"), self.config.branch_width
        parts = np.split(head.weight, [width, 2 * width])
        lasts = [last.then(_Linear(part, np.zeros(1))) for (_, last), part in zip(branches, parts, strict=True)]
        total = self._constant(head.bias + sum(last.bias for last in lasts))
        for (values, _), last in zip(branches, lasts, strict=True):
            total = self._add("Gemm", [values, self._constant(last.weight), total])
        hidden = self._add("Relu", [total])
        self._node("Gemm", [hidden, *map(self._constant, self._linear("head.2"))], [output])
        self.outputs.append(output)

    def encoder_branch(self) -> tuple[str, _Linear]:
        norm, first = self._linear("encoder_head.0", transposed=False), self._linear("encoder_head.1")
        first = first.after_norm(norm).then(self._linear("encoder_head.2"))
        return self._add("Relu", [self._gemm(self._norm(self._encoder()), first)]), self._linear("encoder_head.4")

    def inception_branch(self) -> tuple[str, _Linear]:
        flat = self._add("Flatten", [self._inception()])
        hidden = self._gemm(flat, self._linear("inception_head.1"))
        return self._add("Relu", [hidden]), self._linear("inception_head.3")

    def magnitude_branch(self) -> tuple[str, _Linear]:
        values, last = "magnitudes", 2 * (self.config.magnitude_layers - 1)
        for number in range(0, last, 2):
            values = self._add("Relu", [self._gemm(values, self._linear(f"magnitudes.{number}"))])
        return values, self._linear(f"magnitudes.{last}")

    def _encoder(self) -> str:
        """The mean over the patches' tokens, (B, C)."""
        tokens = self._tokens()
        for number in range(self.config.depth):
            tokens, hidden = self._until_hidden(number, tokens)
            if number == self.config.depth - 1:
                # The last layer is linear, so the mean may come first.
                tokens, hidden = self._mean(tokens, self.config.width), self._mean(hidden, self.config.mlp_hidden)
            last = self._linear(f"encoder.blocks.{number}.mlp.2")
            tokens = self._add("Add", [*self._maps(hidden, last), tokens])
        return tokens

    def _tokens(self) -> str:
        """What goes into the first block."""
        config, tensors = self.config, self.tensors
        kernel = self._constant(tensors["encoder.patches.weight"])
        patches = self._add("Conv", ["images", kernel], strides=[config.patch] * 2)
        patches = self._add("Reshape", [patches, self._numbers(0, config.width, config.patches)])
        tokens = self._add("Transpose", [patches], perm=[2, 0, 1])
        positions = tensors["encoder.positions"][0].copy()
        positions[config.class_token :] += tensors["encoder.patches.bias"]
        if config.class_token:
            positions[0] += tensors["encoder.class_token"][0, 0]
            batch = self._add("Shape", ["images"], start=0, end=1)
            shape = self._add("Concat", [self._numbers(1), batch, self._numbers(config.width)], axis=0)
            nothing = self._add("Expand", [self._constant(np.zeros((1, 1, config.width))), shape])
            tokens = self._add("Concat", [nothing, tokens], axis=0)
        return self._flat(self._add("Add", [tokens, self._constant(positions[:, None])]))

    def _until_hidden(self, number: int, tokens: str) -> tuple[str, str]:
        """A block up to its MLP's hidden layer, (N * B, 4 C), and the tokens that its output is to be added to."""
        name, config, before = f"encoder.blocks.{number}", self.config, tokens
        norm = self._linear(f"{name}.norm_attention", transposed=False)
        tokens = self._add("Add", [self._attention(f"{name}.attention", self._norm(tokens), norm), tokens])
        if config.convolution_hidden is not None:
            tokens = self._add("Add", [tokens, self._convolved(f"{name}.convolution", before)])
        if number == config.depth - 1:
            tokens = self._flat(self._patches(tokens))
        first = self._linear(f"{name}.mlp.0").after_norm(self._linear(f"{name}.norm_mlp", transposed=False))
        return tokens, self._add("Gelu", self._maps(self._norm(tokens), first))

    def _attention(self, name: str, normed: str, norm: _Linear) -> str:
        """Attention.

        A bias of the keys adds the same to all scores of a query, which the softmax takes away again. The weights of
        the values sum to 1, so their bias comes out as it is, and goes into the projection's.
        """
        config, width = self.config, self.config.width
        bias = np.zeros(3 * width)
        if config.qkv_bias == "joint":
            bias = self.tensors[f"{name}.qkv.bias"]
        elif config.qkv_bias == "separate":
            bias = np.concatenate([self.tensors[f"{name}.q_bias"], bias[:width], self.tensors[f"{name}.v_bias"]])
        qkv = _Linear(self.tensors[f"{name}.qkv.weight"].T, bias).after_norm(norm)
        q, k, v = map(_Linear, np.split(qkv.weight, 3, axis=1), np.split(qkv.bias, 3))
        each = width // config.heads
        scaled, no_bias = _Linear(q.weight * each**-0.5, q.bias * each**-0.5), np.zeros(0)
        parts = self._maps(normed, scaled, _Linear(k.weight, no_bias), _Linear(v.weight, no_bias))
        by_head = self._numbers(config.patches + config.class_token, -1, each)
        queries, keys, values = (self._add("Reshape", [part, by_head]) for part in parts)
        scores = self._add(
            "FusedMatMul", [queries, keys], domain=_CONTRIB, transBatchA=1, transBatchB=1, transB=1
        )  # (B * heads, N, N)
        weights = self._add("Softmax", [scores], axis=-1)
        mixed = self._add("FusedMatMul", [weights, values], domain=_CONTRIB, transBatchB=1)
        mixed = self._flat(self._add("Transpose", [mixed], perm=[1, 0, 2]))
        return self._maps(mixed, _Linear(np.eye(width), v.bias).then(self._linear(f"{name}.project")))[0]

    def _convolved(self, name: str, tokens: str) -> str:
        config, groups = self.config, self.config.convolution_groups
        image = self._add("Transpose", [self._patches(tokens)], perm=[1, 2, 0])
        image = self._add("Reshape", [image, self._numbers(0, config.width, config.grid, config.grid)])
        image = self._conv(image, self._normed_kernel(f"{name}.0", f"{name}.1"), groups)
        image = self._add("Mul", [image, self._add("Sigmoid", [image])])
        image = self._conv(image, self._kernel(f"{name}.3"), groups)
        image = self._add("Reshape", [image, self._numbers(0, config.width, config.patches)])
        tokens = self._add("Transpose", [image], perm=[2, 0, 1])
        if config.class_token:
            tokens = self._add("Pad", [tokens, self._numbers(1, 0, 0, 0, 0, 0)])
        return self._flat(tokens)

    def _patches(self, tokens: str) -> str:
        """Without the class token: (patches, B, C)."""
        config = self.config
        tokens = self._add("Reshape", [tokens, self._numbers(config.patches + config.class_token, -1, config.width)])
        if config.class_token:
            tokens = self._add("Slice", [tokens, self._numbers(1), self._numbers(config.patches + 1)])
        return tokens

    def _flat(self, tokens: str) -> str:
        return self._add("Reshape", [tokens, self._numbers(-1, self.config.width)])

    def _mean(self, patches: str, width: int) -> str:
        patches = self._add("Reshape", [patches, self._numbers(self.config.patches, -1, width)])
        return self._add("ReduceMean", [patches, self._numbers(0)], keepdims=0)

    def _inception(self) -> str:
        # The bare convolution sees one pixel at a time: of the halved image it gives the same, for a quarter of it.
        images = self._conv(self._halved("images"), self._kernel("inception.0"))
        for number in (2, 3, 4, 5, 6, 7, 8):
            images = self._halved(images) if number in {4, 7} else self._inception_block(number, images)
        return images

    def _inception_block(self, number: int, images: str) -> str:
        name = f"inception.{number}"
        branches = [self._unit(f"{name}.one", images)]
        for branch in ("three", "five") if number != 8 else ("three",):
            branches.append(self._unit(f"{name}.{branch}.1", self._unit(f"{name}.{branch}.0", images)))
        pooled = self._add("MaxPool", [images], kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
        return self._add("Concat", [*branches, self._unit(f"{name}.pool.1", pooled)], axis=1)

    def _unit(self, name: str, images: str) -> str:
        return self._add("Relu", [self._conv(images, self._normed_kernel(f"{name}.0", f"{name}.1"))])

    def _halved(self, images: str) -> str:
        return self._add("AveragePool", [images], kernel_shape=[2, 2], strides=[2, 2])

    def _conv(self, images: str, kernel: _Linear, groups: int = 1) -> str:
        pads = [kernel.weight.shape[-1] // 2] * 4
        return self._add("Conv", [images, *map(self._constant, kernel)], pads=pads, group=groups)

    def _maps(self, values: str, *linears: _Linear) -> list[str]:
        """The encoder's linear maps of the same values; those without a bias have an empty one."""
        if not self.int8:
            return [self._gemm(values, linear) for linear in linears]
        quantized = [f"value{len(self.nodes)}{part}" for part in ("", "scale", "zero")]
        self._node("DynamicQuantizeLinear", [values], quantized)
        return [self._int8_map(quantized, linear) for linear in linears]

    def _int8_map(self, quantized: Sequence[str], linear: _Linear) -> str:
        whole, scale, zero = quantized
        largest = np.abs(linear.weight).max(axis=0)
        scales = np.where(largest > 0, largest, 1.0) / _LARGEST_WEIGHT
        weight = self._initializer(np.round(linear.weight / scales).astype(np.int8))
        inputs = [whole, weight, scale, self._constant(scales), zero, ""]
        inputs += [self._constant(linear.bias)] if linear.bias.size else []
        return self._add("MatMulIntegerToFloat", inputs, domain=_CONTRIB)

    def _gemm(self, values: str, linear: _Linear) -> str:
        if not linear.bias.size:
            return self._add("MatMul", [values, self._constant(linear.weight)])
        return self._add("Gemm", [values, *map(self._constant, linear)])

    def _norm(self, values: str) -> str:
        """Layer norm without scale and shift: these are in the linear map behind it."""
        ones = self._constant(np.ones(self.config.width))
        return self._add("LayerNormalization", [values, ones], epsilon=self.config.norm_eps)

    def _linear(self, name: str, *, transposed: bool = True) -> _Linear:
        weight = self.tensors[f"{name}.weight"]
        return _Linear(weight.T if transposed else weight, self.tensors[f"{name}.bias"])

    def _kernel(self, name: str) -> _Linear:
        return self._linear(name, transposed=False)

    def _normed_kernel(self, conv: str, norm: str) -> _Linear:
        """A convolution with the batch norm behind it."""
        scale = self.tensors[f"{norm}.weight"] / np.sqrt(self.tensors[f"{norm}.running_var"] + _BATCH_NORM_EPS)
        kernel, mean = self._kernel(conv), self.tensors[f"{norm}.running_mean"]
        return _Linear(
            kernel.weight * scale[:, None, None, None],
            (kernel.bias - mean) * scale + self.tensors[f"{norm}.bias"],
        )

    def _constant(self, array: Array) -> str:
        return self._initializer(np.ascontiguousarray(array, np.float32))

    def _numbers(self, *numbers: int) -> str:
        return self._initializer(np.array(numbers, np.int64))

    def _initializer(self, array: Array) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, f"constant{len(self.constants)}")
        name: str = self.constants[key].name
        return name

    def _add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"value{len(self.nodes)}"
        self._node(operator, inputs, [name], **attributes)
        return name

    def _node(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def model(self) -> ModelProto:
        """What was collected, as a model."""
        config, kind = self.config, TensorProto.FLOAT
        shapes = {
            "images": ["batch", config.bands, config.image_size, config.image_size],
            "magnitudes": ["batch", config.bands],
        }
        graph = helper.make_graph(
            self.nodes,
            "AstroMAE",
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()],
            [helper.make_tensor_value_info(name, kind, ["batch", 1]) for name in self.outputs],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="cosmic-flows")

"""AstroMAE as an ONNX graph for onnxruntime: the same function as `inference.model.astromae`, with less arithmetic.

What lies between two linear maps without a non-linearity is multiplied out, in float64, and rounded once. Decision 0010
says what was tried and what each is worth. B is the batch, N the tokens, C the config's `width`. Tokens are (N * B, C),
a token of all galaxies after the other: every linear map is then one `Gemm`, and attention finds its heads unmoved.

In int8 the encoder's linear maps, four fifths of the published model's arithmetic, multiply whole numbers.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper

from inference.model.config import WIDTH_BETA, AstroMAEConfig
from inference.model.onnx_builder import CONTRIB, Array, GraphBuilder, Linear
from inference.model.training_data import TrainingData

OPSET = 20
_BATCH_NORM_EPS = 1e-5  # torch's default, which the model keeps


def graph_of(
    config: AstroMAEConfig,
    tensors: Mapping[str, Array],
    sha256: str,
    training_data: TrainingData | None = None,
    *,
    int8: bool = False,
) -> ModelProto:
    """Build the graph of a model.

    Args:
        config: the model's.
        tensors: its state, by the names of `inference.model.astromae.AstroMAE`; complete and finite.
        sha256: content hash of the weights, written into the graph with the config.
        training_data: what the model was trained on, written into the graph too.
        int8: the encoder multiplies whole numbers, unless a third input `exact`, one boolean, says not to.

    Returns:
        Inputs `images` (B, bands, S, S) and `magnitudes` (B, bands), float32; output `redshifts` (B, 1), or
        (B, 3) with a head of quantiles.
    """
    tensors = {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}
    builder = _AstroMAE(config, tensors)
    mean = builder.either_encoder() if int8 else builder.encoder()
    builder.join([builder.encoder_branch(mean), builder.inception_branch(), builder.magnitude_branch()])
    graph = builder.model(with_exact=int8)
    facts = {"config": json.dumps(config.to_dict()), "weights": sha256}
    if training_data is not None:
        facts["training_data"] = json.dumps(training_data.to_dict())
    helper.set_model_props(graph, facts)
    return graph


class _AstroMAE(GraphBuilder):
    """A model's layers, as nodes.

    Args:
        config, tensors: the model's.
        scope: begins every name, for graphs inside a graph.
        int8: whether the encoder's linear maps multiply whole numbers.
    """

    def __init__(
        self, config: AstroMAEConfig, tensors: Mapping[str, Array], scope: str = "", *, int8: bool = False
    ) -> None:
        super().__init__(scope)
        self.config, self.tensors, self.int8 = config, tensors, int8

    def join(self, branches: Sequence[tuple[str, Linear]]) -> None:
        """The head, on branches that lack their last layer: each comes with it."""
        head, width = self._linear("head.0"), self.config.branch_width
        parts = np.split(head.weight, [width, 2 * width])
        lasts = [last.then(Linear(part, np.zeros(1))) for (_, last), part in zip(branches, parts, strict=True)]
        total = self.constant(head.bias + sum(last.bias for last in lasts))
        for (values, _), last in zip(branches, lasts, strict=True):
            total = self.add("Gemm", [values, self.constant(last.weight), total])
        hidden = self.add("Relu", [total])
        inputs = [hidden, *map(self.constant, self._linear("head.2"))]
        if self.config.head == "point":
            self.node("Gemm", inputs, ["redshifts"])
            return
        outputs = self.add("Gemm", inputs)
        middle, *sides = (
            self.add("Slice", [outputs, self.numbers(column), self.numbers(column + 1), self.numbers(1)])
            for column in range(3)
        )
        steep, flat = (self.constant(np.array([factor])) for factor in (WIDTH_BETA, 1 / WIDTH_BETA))
        curved = [self.add("Softplus", [self.add("Mul", [side, steep])]) for side in sides]
        below, above = (self.add("Mul", [side, flat]) for side in curved)
        joined = [middle, self.add("Sub", [middle, below]), self.add("Add", [middle, above])]
        self.node("Concat", joined, ["redshifts"], axis=1)

    def encoder_branch(self, mean: str) -> tuple[str, Linear]:
        norm, first = self._linear("encoder_head.0", transposed=False), self._linear("encoder_head.1")
        first = first.after_norm(norm).then(self._linear("encoder_head.2"))
        return self.add("Relu", [self.gemm(self._norm(mean, self.config.last_norm_eps), first)]), self._linear(
            "encoder_head.4"
        )

    def inception_branch(self) -> tuple[str, Linear]:
        flat = self.add("Flatten", [self._inception()])
        hidden = self.gemm(flat, self._linear("inception_head.1"))
        return self.add("Relu", [hidden]), self._linear("inception_head.3")

    def magnitude_branch(self) -> tuple[str, Linear]:
        values, last = "magnitudes", 2 * (self.config.magnitude_layers - 1)
        for number in range(0, last, 2):
            values = self.add("Relu", [self.gemm(values, self._linear(f"magnitudes.{number}"))])
        return values, self._linear(f"magnitudes.{last}")

    def either_encoder(self) -> str:
        """The encoder twice, of which one is computed."""
        inside = {}
        for branch, int8 in (("then_branch", False), ("else_branch", True)):
            builder = _AstroMAE(self.config, self.tensors, f"{branch}.", int8=int8)
            mean = builder.encoder()
            inside[branch] = builder.subgraph(branch, mean, ["batch", self.config.width])
        return self.add("If", ["exact"], **inside)

    def encoder(self) -> str:
        """The mean over the patches' tokens, (B, C)."""
        tokens = self._tokens()
        for number in range(self.config.depth):
            tokens, hidden = self._until_hidden(number, tokens)
            if number == self.config.depth - 1:
                # The last layer is linear, so the mean may come first.
                tokens, hidden = self._mean(tokens, self.config.width), self._mean(hidden, self.config.mlp_hidden)
            last = self._linear(f"encoder.blocks.{number}.mlp.2")
            tokens = self.add("Add", [*self._maps(hidden, last), tokens])
        return tokens

    def _tokens(self) -> str:
        """What goes into the first block."""
        config, tensors = self.config, self.tensors
        kernel = self.constant(tensors["encoder.patches.weight"])
        patches = self.add("Conv", ["images", kernel], strides=[config.patch] * 2)
        patches = self.add("Reshape", [patches, self.numbers(0, config.width, config.patches)])
        tokens = self.add("Transpose", [patches], perm=[2, 0, 1])
        positions = tensors["encoder.positions"][0].copy()
        positions[config.class_token :] += tensors["encoder.patches.bias"]
        if config.class_token:
            positions[0] += tensors["encoder.class_token"][0, 0]
            batch = self.add("Shape", ["images"], start=0, end=1)
            shape = self.add("Concat", [self.numbers(1), batch, self.numbers(config.width)], axis=0)
            nothing = self.add("Expand", [self.constant(np.zeros((1, 1, config.width))), shape])
            tokens = self.add("Concat", [nothing, tokens], axis=0)
        return self._flat(self.add("Add", [tokens, self.constant(positions[:, None])]))

    def _until_hidden(self, number: int, tokens: str) -> tuple[str, str]:
        """A block up to its MLP's hidden layer, (N * B, 4 C), and the tokens that its output is to be added to."""
        name, config, before = f"encoder.blocks.{number}", self.config, tokens
        norm = self._linear(f"{name}.norm_attention", transposed=False)
        tokens = self.add("Add", [self._attention(f"{name}.attention", self._norm(tokens), norm), tokens])
        if config.convolution_hidden is not None:
            tokens = self.add("Add", [tokens, self._convolved(f"{name}.convolution", before)])
        if number == config.depth - 1:
            tokens = self._flat(self._patches(tokens))
        first = self._linear(f"{name}.mlp.0").after_norm(self._linear(f"{name}.norm_mlp", transposed=False))
        return tokens, self.add("Gelu", self._maps(self._norm(tokens), first))

    def _attention(self, name: str, normed: str, norm: Linear) -> str:
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
        qkv = Linear(self.tensors[f"{name}.qkv.weight"].T, bias).after_norm(norm)
        q, k, v = map(Linear, np.split(qkv.weight, 3, axis=1), np.split(qkv.bias, 3))
        each = width // config.heads
        scaled, no_bias = Linear(q.weight * each**-0.5, q.bias * each**-0.5), np.zeros(0)
        parts = self._maps(normed, scaled, Linear(k.weight, no_bias), Linear(v.weight, no_bias))
        by_head = self.numbers(config.patches + config.class_token, -1, each)
        queries, keys, values = (self.add("Reshape", [part, by_head]) for part in parts)
        scores = self.add(
            "FusedMatMul", [queries, keys], domain=CONTRIB, transBatchA=1, transBatchB=1, transB=1
        )  # (B * heads, N, N)
        weights = self.add("Softmax", [scores], axis=-1)
        mixed = self.add("FusedMatMul", [weights, values], domain=CONTRIB, transBatchB=1)
        mixed = self._flat(self.add("Transpose", [mixed], perm=[1, 0, 2]))
        return self._maps(mixed, Linear(np.eye(width), v.bias).then(self._linear(f"{name}.project")))[0]

    def _convolved(self, name: str, tokens: str) -> str:
        config, groups = self.config, self.config.convolution_groups
        image = self.add("Transpose", [self._patches(tokens)], perm=[1, 2, 0])
        image = self.add("Reshape", [image, self.numbers(0, config.width, config.grid, config.grid)])
        image = self.conv(image, self._normed_kernel(f"{name}.0", f"{name}.1"), groups)
        image = self.add("Mul", [image, self.add("Sigmoid", [image])])
        image = self.conv(image, self._kernel(f"{name}.3"), groups)
        image = self.add("Reshape", [image, self.numbers(0, config.width, config.patches)])
        tokens = self.add("Transpose", [image], perm=[2, 0, 1])
        if config.class_token:
            tokens = self.add("Pad", [tokens, self.numbers(1, 0, 0, 0, 0, 0)])
        return self._flat(tokens)

    def _patches(self, tokens: str) -> str:
        """Without the class token: (patches, B, C)."""
        config = self.config
        tokens = self.add("Reshape", [tokens, self.numbers(config.patches + config.class_token, -1, config.width)])
        if config.class_token:
            tokens = self.add("Slice", [tokens, self.numbers(1), self.numbers(config.patches + 1)])
        return tokens

    def _flat(self, tokens: str) -> str:
        return self.add("Reshape", [tokens, self.numbers(-1, self.config.width)])

    def _mean(self, patches: str, width: int) -> str:
        patches = self.add("Reshape", [patches, self.numbers(self.config.patches, -1, width)])
        return self.add("ReduceMean", [patches, self.numbers(0)], keepdims=0)

    def _inception(self) -> str:
        # The bare convolution sees one pixel at a time, so it and the halving behind it are one convolution.
        kernel, bias = self._kernel("inception.0")
        four = self.constant(np.tile(kernel / 4, (2, 2)))
        images = self.add("Conv", ["images", four, self.constant(bias)], strides=[2, 2])
        for number in (2, 3, 4, 5, 6, 7, 8):
            images = self.halved(images) if number in {4, 7} else self._inception_block(number, images)
        return images

    def _inception_block(self, number: int, images: str) -> str:
        name = f"inception.{number}"
        two_fold = ("three", "five") if number != 8 else ("three",)
        reduced = {branch: self._unit(f"{name}.{branch}.0", images) for branch in two_fold}
        branches = [self._unit(f"{name}.one", images)]
        branches += [self._unit(f"{name}.{branch}.1", reduced[branch]) for branch in two_fold]
        pooled = self.add("MaxPool", [images], kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
        return self.add("Concat", [*branches, self._unit(f"{name}.pool.1", pooled)], axis=1)

    def _unit(self, name: str, images: str) -> str:
        return self.add("Relu", [self.conv(images, self._normed_kernel(f"{name}.0", f"{name}.1"))])

    def _maps(self, values: str, *linears: Linear) -> list[str]:
        """The encoder's linear maps of the same values."""
        return self.int8_gemms(values, linears) if self.int8 else [self.gemm(values, linear) for linear in linears]

    def _norm(self, values: str, eps: float | None = None) -> str:
        """Layer norm without scale and shift: these are in the linear map behind it."""
        ones = self.constant(np.ones(self.config.width))
        return self.add("LayerNormalization", [values, ones], epsilon=eps or self.config.norm_eps)

    def _linear(self, name: str, *, transposed: bool = True) -> Linear:
        weight = self.tensors[f"{name}.weight"]
        return Linear(weight.T if transposed else weight, self.tensors[f"{name}.bias"])

    def _kernel(self, name: str) -> Linear:
        return self._linear(name, transposed=False)

    def _normed_kernel(self, conv: str, norm: str) -> Linear:
        """A convolution with the batch norm behind it."""
        scale = self.tensors[f"{norm}.weight"] / np.sqrt(self.tensors[f"{norm}.running_var"] + _BATCH_NORM_EPS)
        kernel, mean = self._kernel(conv), self.tensors[f"{norm}.running_mean"]
        return Linear(
            kernel.weight * scale[:, None, None, None],
            (kernel.bias - mean) * scale + self.tensors[f"{norm}.bias"],
        )

    def model(self, *, with_exact: bool) -> ModelProto:
        """What was collected, as a model."""
        config, kind = self.config, TensorProto.FLOAT
        shapes: dict[str, list[str | int]] = {
            "images": ["batch", config.bands, config.image_size, config.image_size],
            "magnitudes": ["batch", config.bands],
        }
        inputs = [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]
        if with_exact:
            inputs.append(helper.make_tensor_value_info("exact", TensorProto.BOOL, []))
        output = helper.make_tensor_value_info("redshifts", kind, ["batch", config.outputs])
        graph = helper.make_graph(self.nodes, "AstroMAE", inputs, [output], self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="cosmic-flows")

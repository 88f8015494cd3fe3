"""AstroMAE in bf16 for a CUDA device: the same function as `inference.model.astromae.AstroMAE`, in fewer steps.

Weights are rounded once, batch norms are folded into their convolutions, the first pixels are halved before they are
convolved, and `inference.engines.cuda_kernels` does what torch has no fitting kernel for. What needs more bits keeps
them: the residual stream, the norms and the magnitudes' first layer float32, the rest of the magnitudes' branch and the
head tf32.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from inference.engines import cuda_kernels
from inference.model.astromae import AstroMAE, InceptionBlock

_LEAST = 64  # galaxies of the smallest recording


class CudaModel:
    """Redshifts on a CUDA device in bf16.

    A pass is some 200 kernels, which the host launches in 5 ms, and the device computes 4,096 galaxies meanwhile. So a
    pass is recorded once for each power of two of galaxies that is asked for, and replayed.

    Args:
        model: on the device, in float32, in evaluation mode. It is not changed.
        most: galaxies of the largest batch, a power of two.
    """

    def __init__(self, model: AstroMAE, most: int) -> None:
        self._computed = Steps(model)
        device = model.encoder.positions.device
        config = model.config
        self._inputs = (
            torch.zeros((most, *config.image_shape), device=device),
            torch.zeros((most, config.bands), device=device),
        )
        self._memory: Any = torch.cuda.graph_pool_handle()  # one for all: only one is replayed at a time
        self._recorded: dict[int, tuple[Any, Tensor]] = {}

    def __call__(self, images: Tensor, magnitudes: Tensor) -> Tensor:
        """What `AstroMAE.forward` gives.

        Args:
            images: (B, bands, S, S), float32, on the device; B at most `most`.
            magnitudes: (B, bands), float32, on the device.

        Returns:
            (B, 1) or, with a head of quantiles, (B, 3), float32.
        """
        count = len(images)
        size = min(len(self._inputs[0]), max(_LEAST, 1 << (count - 1).bit_length()))
        for own, given in zip(self._inputs, (images, magnitudes), strict=True):
            own[:count].copy_(given)
        if size not in self._recorded:
            self._recorded[size] = self._record(size)
        graph, redshifts = self._recorded[size]
        graph.replay()
        return redshifts[:count].clone()

    def _record(self, size: int) -> tuple[Any, Tensor]:
        inputs = [own[:size] for own in self._inputs]
        beside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            self._computed(*inputs)  # compiles what is not yet compiled, which a recording could not
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory, capture_error_mode="thread_local"):
            redshifts = self._computed(*inputs)
        return graph, redshifts


class Steps:
    """One pass, step by step.

    Args:
        model: see `CudaModel`.
    """

    def __init__(self, model: Any) -> None:
        encoder, self._config = model.encoder, model.config
        self._patches = _rounded(encoder.patches.weight.flatten(1)), _rounded(encoder.patches.bias)
        positions = encoder.positions.detach()
        token = encoder.class_token
        self._start = positions if token is None else torch.cat([token + positions[:, :1], positions[:, 1:]], 1)
        self._blocks = [_Block(block) for block in encoder.blocks]
        norm, mixed, wide, _, narrow = model.encoder_head
        self._encoder_norm = norm
        self._encoder_head = _Linear(mixed), _Linear(wide), _Linear(narrow)
        self._inception = _Inception(model.inception)
        self._inception_head = _Linear(model.inception_head[1]), _Linear(model.inception_head[3])
        self._magnitudes, self._outputs = model.magnitudes, model.outputs

    def __call__(self, images: Tensor, magnitudes: Tensor) -> Tensor:
        """See `CudaModel`; B is any number."""
        mixed, wide, narrow = self._encoder_head
        encoded = narrow(torch.relu(wide(mixed(self._encoded(images)))))
        wide, narrow = self._inception_head
        convolved = narrow(torch.relu(wide(self._inception(images))))
        first, *others = self._magnitudes
        features = first(magnitudes)
        with _tf32():
            for layer in others:
                features = layer(features)
            redshifts: Tensor = self._outputs(torch.cat([encoded.float(), convolved.float(), features], 1))
        return redshifts

    def _encoded(self, images: Tensor) -> Tensor:
        """(B, bands, S, S) -> (B, C), the mean over patches behind its norm, bf16."""
        config, batch = self._config, len(images)
        grid, patch = config.grid, config.patch
        tiles = images.view(batch, config.bands, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)
        flat = torch.empty(tiles.shape, dtype=cuda_kernels.DTYPE, device=images.device).copy_(tiles)
        change = functional.linear(flat.view(batch, grid * grid, -1), *self._patches)
        if config.class_token:
            change = functional.pad(change, (0, 0, 1, 0))
        stream = self._start.repeat(batch, 1, 1)
        for block in self._blocks:
            change = block(stream, change)
        tokens = (stream + change)[:, int(config.class_token) :].mean(1)
        norm: Tensor = self._encoder_norm(tokens)
        return norm.to(cuda_kernels.DTYPE)


class _Linear:
    """A linear map in bf16."""

    def __init__(self, layer: Any, bias: Tensor | None = None) -> None:
        bias = layer.bias if bias is None else bias
        self._weights: tuple[Tensor, Any] = _rounded(layer.weight), None if bias is None else _rounded(bias)

    def __call__(self, values: Tensor) -> Tensor:
        return functional.linear(values, *self._weights)

    def gelu(self, values: Tensor) -> Tensor:
        """GELU of the map, approximated with tanh, by one kernel: the widest values are written and read once less."""
        weight, bias = self._weights
        flat: Tensor = torch._addmm_activation(bias, values.flatten(0, -2), weight.t(), use_gelu=True)
        return flat.view(*values.shape[:-1], -1)


class _Block:
    """A transformer block: what it changes, given the stream and what the block before it changes."""

    def __init__(self, block: Any) -> None:
        attention = block.attention
        self._heads, self._grid, self._class_token = attention.heads, block.grid, block.class_token
        self._norms = [_norm(block.norm_attention), _norm(block.norm_mlp)]
        bias = None
        if attention.q_bias is not None and attention.v_bias is not None:
            bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
        self._qkv, self._project = _Linear(attention.qkv, bias), _Linear(attention.project)
        self._wide, self._narrow = _Linear(block.mlp[0]), _Linear(block.mlp[2])
        self._convolution: Any = None
        if block.convolution is not None:
            first, norm, between, last = copy.deepcopy(block.convolution)
            folded: Any = nn.Sequential(fuse_conv_bn_eval(first, norm), between, last)
            self._convolution = folded.to(dtype=cuda_kernels.DTYPE, memory_format=torch.channels_last)

    def __call__(self, stream: Tensor, change: Tensor) -> Tensor:
        tokens = cuda_kernels.add_norm(stream, change, *self._norms[0])
        change = self._project(self._attended(self._qkv(tokens)))
        if self._convolution is not None:
            change = change + self._convolved(stream, self._convolution)
        tokens = cuda_kernels.add_norm(stream, change, *self._norms[1])
        return self._narrow(self._wide.gelu(tokens))

    def _attended(self, qkv: Tensor) -> Tensor:
        batch, count, columns = qkv.shape
        if count <= cuda_kernels.MOST_TOKENS:
            return cuda_kernels.attention(qkv, self._heads)
        q, k, v = qkv.view(batch, count, 3, self._heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).reshape(batch, count, columns // 3)

    def _convolved(self, stream: Tensor, convolution: Any) -> Tensor:
        """The patches as an image, convolved; the class token gets zero. (B, N, C), bf16."""
        patches = stream[:, int(self._class_token) :].to(cuda_kernels.DTYPE)
        image = patches.reshape(len(patches), self._grid, self._grid, -1).permute(0, 3, 1, 2)
        convolved = convolution(image).permute(0, 2, 3, 1).flatten(1, 2)
        return functional.pad(convolved, (0, 0, 1, 0)) if self._class_token else convolved


class _Inception:
    """The inception branch, channels last: (B, bands, S, S) float32 -> (B, features) bf16."""

    def __init__(self, branch: Any) -> None:
        stem = branch[0]
        self._stem = _rounded(stem.weight.permute(2, 3, 1, 0)), stem.bias.detach()
        self._steps = [
            _InceptionBlock(step) if isinstance(step, InceptionBlock) else cuda_kernels.halved for step in branch[2:]
        ]

    def __call__(self, images: Tensor) -> Tensor:
        # The first convolution sees one pixel at a time, so that halving before it gives the same, for a quarter.
        pixels = cuda_kernels.halved(images.permute(0, 2, 3, 1))
        values = pixels.new_empty(*pixels.shape[:3], self._stem[0].shape[3])
        cuda_kernels.convolution(pixels, *self._stem, values, relu=False)
        for step in self._steps:
            values = step(values)
        return values.permute(0, 3, 1, 2).flatten(1)


class _InceptionBlock:
    """See `InceptionBlock`; (B, S, S, channels) -> (B, S, S, branches x width), bf16."""

    def __init__(self, block: Any) -> None:
        chains = [[block.one], list(block.three), *([list(block.five)] if block.joins_five else []), [block.pool[1]]]
        self._branches = [[_folded(unit) for unit in chain] for chain in chains]

    def __call__(self, values: Tensor) -> Tensor:
        width = self._branches[0][0][0].shape[3]
        out = values.new_empty(*values.shape[:3], width * len(self._branches))
        for place, (*before, last) in enumerate(self._branches):
            inputs = values
            for unit in before:
                between = values.new_empty(*values.shape[:3], unit[0].shape[3])
                cuda_kernels.convolution(inputs, *unit, between)
                inputs = between
            cuda_kernels.convolution(inputs, *last, out, place * width, pooled=place == len(self._branches) - 1)
        return out


def _folded(unit: Any) -> tuple[Tensor, Tensor]:
    """A convolution with its batch norm: (size, size, C, W) bf16 and (W,) float32."""
    convolution: Any = fuse_conv_bn_eval(unit[0], unit[1])
    return _rounded(convolution.weight.permute(2, 3, 1, 0)), convolution.bias.detach()


def _norm(norm: Any) -> tuple[Tensor, Tensor, float]:
    return norm.weight.detach(), norm.bias.detach(), norm.eps


def _rounded(values: Any) -> Tensor:
    rounded: Tensor = values.detach().to(cuda_kernels.DTYPE).contiguous()
    return rounded


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before

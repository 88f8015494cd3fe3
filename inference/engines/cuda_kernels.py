"""What torch has no fitting kernel for in AstroMAE on a GPU, in Triton.

torch's own attention works on tiles of 64 or 128 tokens, and the published model has 17. Its convolutions of 16
channels leave most of a matrix unit idle, its halving of an image whose channels come last is slow, and each writes
what the next reads again.

Triton comes with torch's builds for CUDA; other builds lack it, and then importing this fails.
"""

# ruff: noqa: ANN001, ANN202

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPE = torch.bfloat16  # of weights and of what passes between steps
MOST_TOKENS = 64  # what a tile of attention holds; with more, torch's own attention is as good

# Sizes of a tile and warps for one, the best of those tried on an H200.
_ROWS, _NORM_WARPS = 8, 2  # of a norm
_PIXELS, _POOLED_PIXELS, _WARPS = 128, 64, 2  # of a convolution


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Multi-head attention of each galaxy's tokens among themselves.

    Args:
        qkv: (B, N, 3, heads, D) flattened to (B, N, 3 x heads x D), bf16, N at most `MOST_TOKENS`.
        heads: how many.

    Returns:
        (B, N, heads x D), bf16.
    """
    batch, tokens, columns = qkv.shape
    width = columns // 3 // heads
    out = qkv.new_empty(batch, tokens, heads * width)
    _attention[(batch, heads)](
        qkv, out, width**-0.5, tokens, heads, width, _tile(tokens, 16), _tile(width, 16), num_warps=1
    )
    return out


def add_norm(stream: Tensor, change: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Add the change to the stream, in place, and return the sum's layer norm.

    Args:
        stream: (B, N, C), float32.
        change: (B, N, C), bf16.
        weight: of the norm, (C,), float32.
        bias: of the norm, (C,), float32.
        eps: of the norm.

    Returns:
        (B, N, C), bf16.
    """
    out, width = torch.empty_like(change), stream.shape[-1]
    rows = stream.numel() // width
    _add_norm[(triton.cdiv(rows, _ROWS),)](
        stream, change, out, weight, bias, rows, eps, width, _tile(width, 16), _ROWS, num_warps=_NORM_WARPS
    )
    return out


def convolution(
    images: Tensor, weights: Tensor, bias: Tensor, out: Tensor, first: int = 0, pooled: bool = False, relu: bool = True
) -> None:
    """Convolve, add the bias, set what is below zero to zero, and write the result into some channels of `out`.

    Args:
        images: (B, S, S, C), bf16, contiguous.
        weights: (size, size, C, W), bf16, with an odd size; 1 where `pooled`.
        bias: (W,), float32.
        out: (B, S, S, channels), bf16; channels `first` to `first` + W are written.
        first: see `out`.
        pooled: whether the largest of 3 x 3 pixels takes each pixel's place first.
        relu: whether what is below zero is set to zero.
    """
    batch, side, _, channels = images.shape
    size, width = weights.shape[0], weights.shape[3]
    count, pixels = batch * side**2, _POOLED_PIXELS if pooled else _PIXELS
    _convolution[(triton.cdiv(count, pixels),)](
        images, weights, bias, out, count, first, out.shape[3], side, 3 if pooled else size,
        channels, width, _tile(channels, 16), _tile(width, 16), pixels, pooled, relu,
        num_warps=_WARPS,
    )  # fmt: skip


def halved(images: Tensor) -> Tensor:
    """The mean of each 2 x 2 pixels.

    Args:
        images: (B, S, S, C), any floating type, any strides.

    Returns:
        (B, S / 2, S / 2, C), bf16, contiguous.
    """
    batch, side, _, channels = images.shape
    out = images.new_empty(batch, side // 2, side // 2, channels, dtype=DTYPE)
    count = batch * (side // 2) ** 2
    _halved[(triton.cdiv(count, _PIXELS),)](
        images, out, count, *images.stride(), side // 2, channels, _tile(channels, 1), _PIXELS, num_warps=4
    )
    return out


def _tile(count: int, least: int) -> int:
    return max(least, 1 << (count - 1).bit_length())


@triton.jit
def _attention(
    qkv, out, scale, tokens: tl.constexpr, heads: tl.constexpr, width: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    galaxy, head = tl.program_id(0), tl.program_id(1)
    row, column = tl.arange(0, rows), tl.arange(0, columns)
    inside = (row[:, None] < tokens) & (column[None, :] < width)
    token = galaxy.to(tl.int64) * tokens + row[:, None]
    at = qkv + token * (3 * heads * width) + head * width + column[None, :]
    q = tl.load(at, mask=inside, other=0.0)
    k = tl.load(at + heads * width, mask=inside, other=0.0)
    v = tl.load(at + 2 * heads * width, mask=inside, other=0.0)
    scores = tl.dot(q, tl.trans(k)) * scale
    scores = tl.where(row[None, :] < tokens, scores, -float("inf"))
    shares = tl.exp(scores - tl.max(scores, 1)[:, None])
    shares = shares / tl.sum(shares, 1)[:, None]
    mixed = tl.dot(shares.to(v.dtype), v)
    tl.store(out + token * (heads * width) + head * width + column[None, :], mixed.to(v.dtype), mask=inside)


@triton.jit
def _add_norm(
    stream, change, out, weight, bias, count, eps, width: tl.constexpr,
    columns: tl.constexpr, rows: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    column = tl.arange(0, columns)
    inside = (row[:, None] < count) & (column[None, :] < width)
    at = row[:, None] * width + column[None, :]
    total = tl.load(stream + at, mask=inside, other=0.0) + tl.load(change + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(stream + at, total, mask=inside)
    centred = tl.where(inside, total - (tl.sum(total, 1) / width)[:, None], 0.0)
    inverse = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / width + eps)
    factor = tl.load(weight + column, mask=column < width, other=0.0)
    shift = tl.load(bias + column, mask=column < width, other=0.0)
    normed = centred * inverse[:, None] * factor[None, :] + shift[None, :]
    tl.store(out + at, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["count", "side", "size"])  # one compilation less for each value
def _convolution(
    images, weights, bias, out, count, first, stride, side, size, channels: tl.constexpr, width: tl.constexpr,
    inputs: tl.constexpr, outputs: tl.constexpr, pixels: tl.constexpr, pooled: tl.constexpr, relu: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(0) * pixels + tl.arange(0, pixels)
    y, x = (number // side) % side, number % side
    pixel = number.to(tl.int64)
    channel, output = tl.arange(0, inputs), tl.arange(0, outputs)
    matrix = channel[:, None] * width + output[None, :]
    here = (channel[:, None] < channels) & (output[None, :] < width)
    total = tl.zeros((pixels, outputs), tl.float32)
    largest = tl.full((pixels, inputs), -float("inf"), tl.float32)
    for tap in range(size * size):
        down, right = tap // size - size // 2, tap % size - size // 2
        there = (pixel < count) & (y + down >= 0) & (y + down < side) & (x + right >= 0) & (x + right < side)
        at = images + (pixel + down * side + right)[:, None] * channels + channel[None, :]
        inside = there[:, None] & (channel[None, :] < channels)
        if pooled:
            largest = tl.maximum(largest, tl.load(at, mask=inside, other=-float("inf")).to(tl.float32))
        else:
            patch = tl.load(at, mask=inside, other=0.0)
            total = tl.dot(patch, tl.load(weights + tap * channels * width + matrix, mask=here, other=0.0), total)
    if pooled:
        patch = tl.where((pixel < count)[:, None] & (channel[None, :] < channels), largest, 0.0).to(
            images.dtype.element_ty
        )
        total = tl.dot(patch, tl.load(weights + matrix, mask=here, other=0.0), total)
    total += tl.load(bias + output, mask=output < width, other=0.0)[None, :]
    inside = (pixel < count)[:, None] & (output[None, :] < width)
    at = out + pixel[:, None] * stride + first + output[None, :]
    if relu:
        total = tl.maximum(total, 0.0)
    tl.store(at, total.to(images.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["count", "side"])
def _halved(
    images, out, count, galaxy_step, row_step, column_step, channel_step, side, channels: tl.constexpr,
    inputs: tl.constexpr, pixels: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(0) * pixels + tl.arange(0, pixels)
    galaxy, y, x = (number // (side * side)).to(tl.int64), (number // side) % side, number % side
    pixel = number.to(tl.int64)
    channel = tl.arange(0, inputs)
    inside = (pixel < count)[:, None] & (channel[None, :] < channels)
    corner = images + (galaxy * galaxy_step + 2 * y * row_step + 2 * x * column_step)[:, None]
    total = tl.zeros((pixels, inputs), tl.float32)
    for down in tl.static_range(2):
        for right in tl.static_range(2):
            at = corner + down * row_step + right * column_step + channel[None, :] * channel_step
            total += tl.load(at, mask=inside, other=0.0).to(tl.float32)
    at = out + pixel[:, None] * channels + channel[None, :]
    tl.store(at, (total * 0.25).to(out.dtype.element_ty), mask=inside)

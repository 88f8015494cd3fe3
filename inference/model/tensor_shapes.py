"""Name and shape of every tensor of an AstroMAE, from its config: what a checkpoint must hold.

These are the names of `inference.model.astromae.AstroMAE.state_dict()`, known here without torch.
"""

import math

from inference.model.config import AstroMAEConfig

Shapes = dict[str, tuple[int, ...]]

# Batches that a batch norm saw in training: the one kind of tensor that is int64. No engine uses it.
BATCH_COUNT = ".num_batches_tracked"


def tensor_shapes(config: AstroMAEConfig) -> Shapes:
    """The shape of every tensor, by name.

    Example:
        >>> tensor_shapes(AstroMAEConfig())["head.2.weight"]
        (1, 1024)
    """
    width, branch = config.width, config.branch_width
    shapes = _encoder(config)
    shapes |= _norm("encoder_head.0", width) | _linear("encoder_head.1", width, width)
    shapes |= _linear("encoder_head.2", width, branch) | _linear("encoder_head.4", branch, branch)
    inception, flattened = _inception(config)
    shapes |= inception
    shapes |= _linear("inception_head.1", flattened, branch) | _linear("inception_head.3", branch, branch)
    for layer in range(config.magnitude_layers):
        inputs = config.bands if layer == 0 else config.magnitude_width
        shapes |= _linear(f"magnitudes.{2 * layer}", inputs, config.magnitude_width)
    shapes |= _linear("head.0", config.features, config.head_width)
    return shapes | _linear("head.2", config.head_width, config.outputs)


def parameters_of(config: AstroMAEConfig) -> int:
    """How many numbers training could change.

    Example:
        >>> parameters_of(AstroMAEConfig())
        15801513
    """
    buffers = (".running_mean", ".running_var", BATCH_COUNT)
    return sum(math.prod(shape) for name, shape in tensor_shapes(config).items() if not name.endswith(buffers))


def _encoder(config: AstroMAEConfig) -> Shapes:
    width = config.width
    shapes = _convolution("encoder.patches", config.bands, width, config.patch)
    if config.class_token:
        shapes["encoder.class_token"] = (1, 1, width)
    shapes["encoder.positions"] = (1, config.patches + config.class_token, width)
    for number in range(config.depth):
        block = f"encoder.blocks.{number}"
        shapes |= _norm(f"{block}.norm_attention", width) | _norm(f"{block}.norm_mlp", width)
        shapes |= _linear(f"{block}.attention.qkv", width, 3 * width, bias=config.qkv_bias == "joint")
        if config.qkv_bias == "separate":
            shapes |= {f"{block}.attention.{name}": (width,) for name in ("q_bias", "v_bias")}
        shapes |= _linear(f"{block}.attention.project", width, width)
        shapes |= _linear(f"{block}.mlp.0", width, config.mlp_hidden)
        shapes |= _linear(f"{block}.mlp.2", config.mlp_hidden, width)
        hidden, groups = config.convolution_hidden, config.convolution_groups
        if hidden is not None:
            shapes |= _convolution(f"{block}.convolution.0", width // groups, hidden, 3)
            shapes |= _batch_norm(f"{block}.convolution.1", hidden)
            shapes |= _convolution(f"{block}.convolution.3", hidden // groups, width, 3)
    return shapes


def _inception(config: AstroMAEConfig) -> tuple[Shapes, int]:
    """The inception branch, and how many numbers of an image come out of it."""
    shapes, channels = _convolution("inception.0", config.bands, config.inception_stem, 1), config.inception_stem
    for number, width in zip((2, 3, 5, 6, 8), config.inception_widths, strict=True):
        block = f"inception.{number}"
        for branch in ("one", "three.0", "five.0", "pool.1"):
            shapes |= _unit(f"{block}.{branch}", channels, width, 1)
        shapes |= _unit(f"{block}.three.1", width, width, 3) | _unit(f"{block}.five.1", width, width, 5)
        channels = 4 * width
    return shapes, 3 * config.inception_widths[-1] * (config.image_size // 8) ** 2


def _unit(name: str, channels: int, width: int, size: int) -> Shapes:
    return _convolution(f"{name}.0", channels, width, size) | _batch_norm(f"{name}.1", width)


def _linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def _convolution(name: str, inputs: int, outputs: int, size: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, size, size), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias")}


def _batch_norm(name: str, width: int) -> Shapes:
    return _norm(name, width) | {
        f"{name}.running_mean": (width,),
        f"{name}.running_var": (width,),
        name + BATCH_COUNT: (),
    }

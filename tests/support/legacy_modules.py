"""Modules shaped as the published ones, to make checkpoints of; their forward pass is the contract's "Model".

Nothing here knows `inference.model.astromae`. The classes take the names under which the published ones are pickled
only while they are saved, so that no reader can import them.
"""

import contextlib
import enum
import io
import sys
import types
import warnings

import torch
from torch import nn

NEW, OLD = "new", "old"  # timm's attributes and module names changed over the years


class Layout(enum.Enum):
    NCHW = "NCHW"


class DropPath(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop_prob = 0.1

    def forward(self, tokens):
        return tokens


class Patches(nn.Module):
    def __init__(self, config, timm):
        super().__init__()
        self.img_size, self.patch_size = (config.image_size,) * 2, (config.patch,) * 2
        self.grid_size, self.num_patches = (config.grid,) * 2, config.patches
        self.flatten = True
        if timm == NEW:
            self.output_fmt, self.strict_img_size, self.dynamic_img_pad = Layout.NCHW, True, False
        self.proj = nn.Conv2d(config.bands, config.width, config.patch, config.patch)
        self.norm = nn.Identity()

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp_hidden)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(0.0)
        self.fc2 = nn.Linear(config.mlp_hidden, config.width)

    def forward(self, tokens):
        return self.fc2(self.act(self.fc1(tokens)))


def attend(qkv, heads):
    """Softmax attention, a head and an image at a time."""
    mixed = []
    for image in qkv:
        q, k, v = image.chunk(3, -1)
        size = q.shape[1] // heads
        parts = [slice(head * size, (head + 1) * size) for head in range(heads)]
        scores = [torch.softmax(q[:, part] @ k[:, part].T / size**0.5, -1) for part in parts]
        mixed.append(torch.cat([score @ v[:, part] for score, part in zip(scores, parts, strict=True)], -1))
    return torch.stack(mixed)


class PlainAttention(nn.Module):
    def __init__(self, config, timm):
        super().__init__()
        self.num_heads, self.scale = config.heads, (config.width // config.heads) ** -0.5
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias == "joint")
        if timm == NEW:
            self.fused_attn, self.head_dim = True, config.width // config.heads
            self.q_norm, self.k_norm = nn.Identity(), nn.Identity()
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(config.width, config.width)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, tokens):
        return self.proj(attend(self.qkv(tokens), self.num_heads))


class PlainBlock(nn.Module):
    """A block of timm's vision transformer."""

    def __init__(self, config, timm):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attn = PlainAttention(config, timm)
        if timm == NEW:
            self.ls1, self.drop_path1 = nn.Identity(), nn.Identity()
        else:
            self.drop_path = DropPath()
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config)

    def forward(self, tokens):
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class SeparateAttention(nn.Module):
    """Attention whose qkv has no bias of its own, but q and v have vectors beside it, and k's is zero."""

    def __init__(self, config):
        super().__init__()
        self.num_heads, self.scale = config.heads, (config.width // config.heads) ** -0.5
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width)) if config.qkv_bias == "separate" else None
        self.v_bias = nn.Parameter(torch.zeros(config.width)) if config.qkv_bias == "separate" else None
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, tokens):
        q, k, v = self.qkv(tokens).chunk(3, -1)
        if self.q_bias is not None:
            q, v = q + self.q_bias, v + self.v_bias
        return self.proj(attend(torch.cat([q, k, v], -1), self.num_heads))


class Cell(nn.Module):
    """A block with convolutions beside attention."""

    def __init__(self, config, kernel):
        super().__init__()
        width, hidden, groups = config.width, config.convolution_hidden, config.convolution_groups
        self.norm1 = nn.LayerNorm(width, eps=config.norm_eps)
        self.class_token = config.class_token
        self.attn = SeparateAttention(config)
        self.drop_path = nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = Mlp(config)
        self.PCM = nn.Sequential(
            nn.Conv2d(width, hidden, kernel, padding=kernel // 2, groups=groups),
            nn.BatchNorm2d(hidden),
            nn.SiLU(inplace=True),
            nn.Conv2d(hidden, width, kernel, padding=kernel // 2, groups=groups),
        )

    def forward(self, tokens):
        first = int(self.class_token)
        side = round((tokens.shape[1] - first) ** 0.5)
        image = tokens[:, first:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        convolved = self.PCM(image).permute(0, 2, 3, 1).flatten(1, 2)
        mixed = tokens + self.attn(self.norm1(tokens))
        mixed = torch.cat([mixed[:, :first], mixed[:, first:] + convolved], 1)
        return mixed + self.mlp(self.norm2(mixed))


class Unit(nn.Module):
    def __init__(self, channels, width, size):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, size, padding=size // 2)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, images):
        return torch.relu(self.bn(self.conv(images)))


class Inception(nn.Module):
    def __init__(self, channels, width, is_custom=False):
        super().__init__()
        self.is_custom = is_custom
        self.branch1 = Unit(channels, width, 1)
        self.branch2 = nn.Sequential(Unit(channels, width, 1), Unit(width, width, 3))
        self.branch3 = nn.Sequential(Unit(channels, width, 1), Unit(width, width, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), Unit(channels, width, 1))

    def forward(self, images):
        five = [] if self.is_custom else [self.branch3(images)]
        return torch.cat([self.branch1(images), self.branch2(images), *five, self.branch4(images)], 1)


class Mixed(nn.Module):
    """The inception branch and the magnitudes'; the first convolution and the pool are registered twice."""

    def __init__(self, config):
        super().__init__()
        self.Inception_only, self.magnitude, self.uk_paper, self.embed_dim = False, True, False, config.width
        self.device = "cpu"
        self.config = [{"in_channel": 32, "out_11": width} for width in config.inception_widths]
        self.conv2d_init = nn.Conv2d(config.bands, config.inception_stem, 1)
        self.avgpool = nn.AvgPool2d(2, 2)
        width = config.magnitude_width
        layers = [nn.Linear(config.bands, width)]
        for _ in range(config.magnitude_layers - 1):
            layers += [nn.ReLU(), nn.Linear(width, width)]
        self.magnitude_block = nn.Sequential(*layers)
        first, second, third, fourth, last = config.inception_widths
        self.vis_inception = nn.Sequential(
            self.conv2d_init,
            self.avgpool,
            Inception(config.inception_stem, first),
            Inception(4 * first, second),
            nn.AvgPool2d(2),
            Inception(4 * second, third),
            Inception(4 * third, fourth),
            nn.AvgPool2d(2),
            Inception(4 * fourth, last, is_custom=True),
            nn.Flatten(),
            nn.Linear(3 * last * (config.image_size // 8) ** 2, config.branch_width),
            nn.ReLU(),
            nn.Linear(config.branch_width, config.branch_width),
        )

    def forward(self, inputs):
        images, magnitudes = inputs
        return torch.cat([self.vis_inception(images), self.magnitude_block(magnitudes.to(images.dtype))], 1)


class Redshift(nn.Module):
    def __init__(self, config, timm=NEW, kernel=3):
        super().__init__()
        convolved = config.convolution_ratio is not None
        self.embed_dim = config.width
        self.fc_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.head = nn.Linear(config.width, config.width)
        self.inception_model = Mixed(config)
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.patches + config.class_token, config.width), False)
        blocks = [Cell(config, kernel) if convolved else PlainBlock(config, timm) for _ in range(config.depth)]
        self.blocks = nn.ModuleList(blocks) if convolved else nn.Sequential(*blocks)
        self.patch_embed = Patches(config, timm)
        width = config.branch_width
        self.vit_block = nn.Sequential(nn.Linear(config.width, width), nn.ReLU(), nn.Linear(width, width))
        self.concat_block = nn.Sequential(
            nn.Linear(2 * width + config.magnitude_width, config.head_width), nn.ReLU(), nn.Linear(config.head_width, 1)
        )

    def forward(self, inputs):
        tokens = self.patch_embed(inputs[0])
        first = 0
        if hasattr(self, "cls_token"):
            tokens, first = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1), 1
        tokens = tokens + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        encoded = self.vit_block(self.head(self.fc_norm(tokens[:, first:].mean(1))))
        return self.concat_block(torch.cat([encoded, self.inception_model(inputs)], 1))


_CLASSES = {
    Redshift: "blocks.model_vit_inception.ViT_Astro",
    Mixed: "blocks.photoz.Input_Mix_Model",
    Inception: "blocks.photoz.InceptionBlock",
    Unit: "blocks.photoz.ConvBlock",
    Cell: "NormalCell.NormalCell",
    SeparateAttention: "NormalCell.Attention",
    PlainBlock: "timm.models.vision_transformer.Block",
    PlainAttention: "timm.models.vision_transformer.Attention",
    Mlp: "{layers}.mlp.Mlp",
    DropPath: "{layers}.drop.DropPath",
    Patches: "{layers}.patch_embed.PatchEmbed",
    Layout: "{layers}.format.Format",
}


@contextlib.contextmanager
def published_names(timm=NEW):
    """Let the classes be known by the names of the published ones, and by no name at all afterwards."""
    before, ours = dict(sys.modules), {cls: (cls.__module__, cls.__qualname__) for cls in _CLASSES}
    try:
        for cls, name in _CLASSES.items():
            path = name.format(layers="timm.layers" if timm == NEW else "timm.models.layers")
            cls.__module__, _, cls.__qualname__ = path.rpartition(".")
            parts = cls.__module__.split(".")
            for depth in range(1, len(parts) + 1):
                sys.modules.setdefault(".".join(parts[:depth]), types.ModuleType(".".join(parts[:depth])))
            setattr(sys.modules[cls.__module__], cls.__qualname__, cls)
        yield
    finally:
        for cls, (module, name) in ours.items():
            cls.__module__, cls.__qualname__ = module, name
        for name in set(sys.modules) - set(before):
            del sys.modules[name]


def legacy_model(config, timm=NEW, kernel=3, seed=0):
    """A model whose weights, biases, norms and running statistics are random, as a trained one's are."""
    torch.manual_seed(seed)
    model = Redshift(config, timm, kernel).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point() and (tensor.ndim == 1 or name in {"cls_token", "pos_embed"}):
                tensor.add_(torch.randn(tensor.shape), alpha=0.2)
            elif name.endswith("num_batches_tracked"):
                tensor.fill_(7)
    return model


def parallel(model):
    """The model in a `DataParallel`, with what that says of devices where there are some."""
    wrapped = nn.DataParallel(model)
    wrapped.src_device_obj, wrapped.output_device = torch.device("cuda", 0), torch.device("cuda", 0)
    return wrapped


def saved(thing, timm=NEW, **options):
    """What `torch.save` writes of a thing, as bytes."""
    file = io.BytesIO()
    with published_names(timm), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(thing, file, **options)
    return file.getvalue()

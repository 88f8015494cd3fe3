"""AstroMAE for redshift: a ViT encoder, an inception branch and a magnitude MLP, joined by a small head.

Contract, "Model: AstroMAE for redshift", in plain torch. B is the batch, N the tokens, C the config's `width`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.model.config import WIDTH_BETA, AstroMAEConfig


class Attention(nn.Module):
    """Multi-head self-attention, (B, N, C) -> (B, N, C)."""

    def __init__(self, config: AstroMAEConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias == "joint")
        self.q_bias: nn.Parameter | None = None
        self.v_bias: nn.Parameter | None = None
        if config.qkv_bias == "separate":
            self.q_bias = nn.Parameter(torch.zeros(config.width))
            self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.project = nn.Linear(config.width, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix every token with all tokens."""
        batch, count, width = tokens.shape
        qkv: Tensor = self.qkv(tokens)
        if self.q_bias is not None and self.v_bias is not None:
            qkv = qkv + torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = qkv.view(batch, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, count, width))
        return projected


class Block(nn.Module):
    """A transformer block, with convolutions beside attention where the config has them; (B, N, C) -> (B, N, C)."""

    def __init__(self, config: AstroMAEConfig) -> None:
        super().__init__()
        self.grid, self.class_token = config.grid, config.class_token
        self.norm_attention = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.convolution = _convolutions(config)
        self.norm_mlp = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, config.mlp_hidden), nn.GELU(), nn.Linear(config.mlp_hidden, config.width)
        )

    def forward(self, tokens: Tensor, places: Tensor | None = None) -> Tensor:
        """Attention, the convolutions, then the MLP, each added to what came before.

        Args:
            tokens: of all patches, or of some of them.
            places: which patches these are, (B, K); to the convolutions the others are zero. None where all are there.
        """
        mixed = tokens + self.attention(self.norm_attention(tokens))
        if self.convolution is not None:
            mixed = mixed + self._convolved(tokens, self.convolution, places)
        out: Tensor = mixed + self.mlp(self.norm_mlp(mixed))
        return out

    def _convolved(self, tokens: Tensor, convolution: nn.Module, places: Tensor | None) -> Tensor:
        """The block's input as an image of patches, convolved; the class token, which has no place in it, gets zero."""
        patches = tokens[:, 1:] if self.class_token else tokens
        if places is not None:
            where = places[..., None].expand_as(patches)
            patches = patches.new_zeros(len(patches), self.grid**2, patches.shape[-1]).scatter(1, where, patches)
        image = patches.transpose(1, 2).reshape(tokens.shape[0], -1, self.grid, self.grid)
        convolved: Tensor = convolution(image).flatten(2).transpose(1, 2)
        if places is not None:
            convolved = convolved.gather(1, where)
        return functional.pad(convolved, (0, 0, 1, 0)) if self.class_token else convolved


class Encoder(nn.Module):
    """The masked autoencoder's encoder on a whole image: (B, bands, S, S) -> (B, C), the mean over patch tokens."""

    def __init__(self, config: AstroMAEConfig) -> None:
        super().__init__()
        self.patches = nn.Conv2d(config.bands, config.width, config.patch, stride=config.patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width)) if config.class_token else None
        self.positions = nn.Parameter(torch.zeros(1, config.patches + config.class_token, config.width))
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        for parameter in (self.class_token, self.positions):
            if parameter is not None:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Encode; the class token takes part in attention and is left out of the mean."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        if self.class_token is None:
            return torch.mean(self.blocks(tokens + self.positions), 1)
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), tokens], 1)
        return torch.mean(self.blocks(tokens + self.positions)[:, 1:], 1)


class InceptionBlock(nn.Module):
    """Branches of one width side by side: (B, channels, H, W) -> (B, 4 x width, H, W).

    Args:
        channels: that come in.
        width: of a branch, and of the 1x1 convolution that reduces its input.
        joins_five: whether the 5x5 branch is used; where not, its weights exist all the same and 3 x width come out.
    """

    def __init__(self, channels: int, width: int, joins_five: bool = True) -> None:
        super().__init__()
        self.joins_five = joins_five
        self.one = _unit(channels, width, 1)
        self.three = nn.Sequential(_unit(channels, width, 1), _unit(width, width, 3))
        self.five = nn.Sequential(_unit(channels, width, 1), _unit(width, width, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _unit(channels, width, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Join the branches along the channels."""
        branches = [self.one, self.three, *([self.five] if self.joins_five else []), self.pool]
        return torch.cat([branch(images) for branch in branches], 1)


class AstroMAE(nn.Module):
    """Redshifts of galaxies from cut-outs and magnitudes."""

    def __init__(self, config: AstroMAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.encoder_head = nn.Sequential(
            nn.LayerNorm(config.width, eps=config.last_norm_eps),
            nn.Linear(config.width, config.width),
            *_branch_head(config.width, config.branch_width),
        )
        self.inception, inception_out = _inception(config)
        self.inception_head = nn.Sequential(nn.Flatten(), *_branch_head(inception_out, config.branch_width))
        self.magnitudes = _magnitudes(config)
        first, last = nn.Linear(config.features, config.head_width), nn.Linear(config.head_width, config.outputs)
        self.head = nn.Sequential(first, nn.ReLU(), last)

    def features(self, images: Tensor, magnitudes: Tensor) -> Tensor:
        """The three branches joined, encoder, inception, magnitudes: (B, config.features)."""
        branches = [
            self.encoder_head(self.encoder(images)),
            self.inception_head(self.inception(images)),
            self.magnitudes(magnitudes.to(images.dtype)),
        ]
        return torch.cat(branches, 1)

    def forward(self, images: Tensor, magnitudes: Tensor) -> Tensor:
        """Predict redshifts.

        Args:
            images: (B, bands, image_size, image_size), of the weights' type, float32.
            magnitudes: (B, bands), any floating type.

        Returns:
            (B, 1) redshifts; (B, 3) with a head of quantiles: those at 50, 16 and 84 %, which never cross.
        """
        return self.outputs(self.features(images, magnitudes))

    def outputs(self, features: Tensor) -> Tensor:
        """What `forward` gives, of the joined branches, (B, config.features)."""
        redshifts: Tensor = self.head(features)
        if self.config.head == "point":
            return redshifts
        middle, below, above = redshifts.unbind(1)
        return torch.stack([middle, middle - _width(below), middle + _width(above)], 1)


def _width(values: Tensor) -> Tensor:
    """A distance above 0 that follows its input as soon as it is as large as redshifts are off."""
    return functional.softplus(values, beta=WIDTH_BETA)


def _convolutions(config: AstroMAEConfig) -> nn.Sequential | None:
    width, hidden, groups = config.width, config.convolution_hidden, config.convolution_groups
    if hidden is None:
        return None
    return nn.Sequential(
        nn.Conv2d(width, hidden, 3, padding=1, groups=groups),
        nn.BatchNorm2d(hidden),
        nn.SiLU(),
        nn.Conv2d(hidden, width, 3, padding=1, groups=groups),
    )


def _unit(channels: int, width: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, size, padding=size // 2), nn.BatchNorm2d(width), nn.ReLU())


def _inception(config: AstroMAEConfig) -> tuple[nn.Sequential, int]:
    """The inception branch and how many numbers of an image come out of it."""
    first, second, third, fourth, last = config.inception_widths
    branch = nn.Sequential(
        nn.Conv2d(config.bands, config.inception_stem, 1),
        nn.AvgPool2d(2),
        InceptionBlock(config.inception_stem, first),
        InceptionBlock(4 * first, second),
        nn.AvgPool2d(2),
        InceptionBlock(4 * second, third),
        InceptionBlock(4 * third, fourth),
        nn.AvgPool2d(2),
        InceptionBlock(4 * fourth, last, joins_five=False),
    )
    return branch, 3 * last * (config.image_size // 8) ** 2


def _branch_head(width: int, features: int) -> tuple[nn.Module, ...]:
    return nn.Linear(width, features), nn.ReLU(), nn.Linear(features, features)


def _magnitudes(config: AstroMAEConfig) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(config.bands, config.magnitude_width)]
    for _ in range(config.magnitude_layers - 1):
        layers += [nn.ReLU(), nn.Linear(config.magnitude_width, config.magnitude_width)]
    return nn.Sequential(*layers)

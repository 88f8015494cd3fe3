"""Pre-training of the encoder as a masked autoencoder (He et al. 2022, CVPR).

The encoder sees a quarter of an image's patches; a small decoder, thrown away afterwards, draws the others. What is
drawn are pixels scaled to each band's spread and then stretched by asinh, so that bright cores do not outweigh
all else.
"""

import numpy as np
import torch
from torch import Tensor, nn

from inference.model.astromae import Block, Encoder
from inference.model.config import AstroMAEConfig
from tasks.training.recipe import Pretraining


class MaskedAutoencoder(nn.Module):
    """The encoder on what is visible of an image, and a decoder for the rest.

    Args:
        encoder: of the model to be; it is trained in place.
        config: the model's.
        pretraining: mask and decoder.
        pixel: spread of each band's pixels, (5,); inputs are divided by it.
    """

    pixel: Tensor

    def __init__(self, encoder: Encoder, config: AstroMAEConfig, pretraining: Pretraining, pixel: np.ndarray) -> None:
        super().__init__()
        self.encoder, self.patch, self.class_token = encoder, config.patch, config.class_token
        self.kept = max(1, round(config.patches * (1 - pretraining.mask_ratio)))
        width = pretraining.decoder_width
        blocks = AstroMAEConfig(
            width=width,
            depth=pretraining.decoder_depth,
            heads=pretraining.decoder_heads,
            image_size=config.image_size,
            patch=config.patch,
            class_token=False,
        )
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.embed = nn.Linear(config.width, width)
        self.mask = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, config.patches, width))
        self.blocks = nn.Sequential(*(Block(blocks) for _ in range(blocks.depth)))
        self.draw = nn.Sequential(
            nn.LayerNorm(width, eps=config.norm_eps), nn.Linear(width, config.bands * config.patch**2)
        )
        for parameter in (self.mask, self.positions):
            nn.init.normal_(parameter, std=0.02)
        self.register_buffer("pixel", torch.tensor(pixel, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the hidden patches.

        Args:
            images: (B, bands, S, S), nanomaggies.
            order: a permutation of the patches of each image, (B, patches); the first `kept` are visible.

        Returns:
            What is drawn and what is there, of the hidden patches: (B, hidden, bands x patch x patch) each.
        """
        scaled = images / self.pixel
        kept, hidden = order[:, : self.kept], order[:, self.kept :]
        seen = self.embed(self.norm(visible(self.encoder, scaled, kept)))
        masks = self.mask.expand(len(images), hidden.shape[1], -1)
        tokens = _pick(torch.cat([seen, masks.to(seen.dtype)], 1), torch.argsort(order, 1)) + self.positions
        drawn = self.draw(self.blocks(tokens))
        patches = torch.asinh(_patches(scaled, self.patch))
        return _pick(drawn, hidden), _pick(patches, hidden)


def visible(encoder: Encoder, images: Tensor, kept: Tensor) -> Tensor:
    """The encoder's tokens of the patches `kept`, (B, K) numbers, none else being seen: (B, K, C)."""
    tokens: Tensor = encoder.patches(images).flatten(2).transpose(1, 2)
    positions = encoder.positions
    if encoder.class_token is None:
        tokens = _pick(tokens + positions, kept)
    else:
        tokens = _pick(tokens + positions[:, 1:], kept)
        first = (encoder.class_token + positions[:, :1]).expand(len(images), -1, -1)
        tokens = torch.cat([first.to(tokens.dtype), tokens], 1)
    for block in encoder.blocks:
        tokens = block(tokens, kept)
    return tokens if encoder.class_token is None else tokens[:, 1:]


def reconstruction_loss(
    module: nn.Module, images: Tensor, magnitudes: Tensor, redshifts: Tensor, rng: torch.Generator
) -> Tensor:
    """Mean squared error of the hidden patches, masks drawn from `rng`."""
    patches = (images.shape[-1] // int(module.patch)) ** 2  # type: ignore[arg-type]
    order = torch.argsort(torch.rand(len(images), patches, generator=rng), 1).to(images.device)
    drawn, there = module(images, order)
    loss: Tensor = nn.functional.mse_loss(drawn.float(), there.float())
    return loss


def _pick(tokens: Tensor, numbers: Tensor) -> Tensor:
    return torch.gather(tokens, 1, numbers[..., None].expand(-1, -1, tokens.shape[-1]))


def _patches(images: Tensor, patch: int) -> Tensor:
    """(B, bands, S, S) -> (B, patches, bands x patch x patch), row by row."""
    cut: Tensor = nn.functional.unfold(images, patch, stride=patch)
    return cut.transpose(1, 2)

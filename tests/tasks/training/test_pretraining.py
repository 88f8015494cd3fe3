import dataclasses

import numpy as np
import pytest
import torch

from tasks.training.pretraining import MaskedAutoencoder, reconstruction_loss, visible
from tasks.training.recipe import Pretraining
from tests.support.models import TINY, random_model

HOW = Pretraining(epochs=1, decoder_width=24, decoder_depth=1, decoder_heads=2)
VARIANTS = {
    "plain": TINY,
    "no class token": dataclasses.replace(TINY, class_token=False),
    "convolutions": dataclasses.replace(TINY, convolution_ratio=1.0),
}


def images_of(count=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 5, 32, 32)).astype(np.float32))


def autoencoder_of(config, seed=0, **changes):
    torch.manual_seed(seed)
    how = dataclasses.replace(HOW, **changes)
    return MaskedAutoencoder(random_model(config, seed).encoder, config, how, np.ones(5)).eval()


@pytest.mark.parametrize("name", VARIANTS)
class TestWhatIsVisible:
    def test_of_all_patches_is_what_the_encoder_gives(self, name):
        encoder = random_model(VARIANTS[name], 0).encoder.eval()
        images = images_of()
        every = torch.arange(VARIANTS[name].patches).expand(3, -1)
        with torch.inference_mode():
            torch.testing.assert_close(visible(encoder, images, every).mean(1), encoder(images), rtol=1e-5, atol=1e-5)

    def test_does_not_depend_on_the_hidden_pixels(self, name):
        encoder = random_model(VARIANTS[name], 0).encoder.eval()
        kept = torch.tensor([[1, 4, 7]])
        images, others = images_of(1), images_of(1, seed=9)
        per_side, patch = 32 // VARIANTS[name].patch, VARIANTS[name].patch
        for number in kept[0].tolist():
            row, column = (patch * place for place in divmod(number, per_side))
            area = (slice(None), slice(None), slice(row, row + patch), slice(column, column + patch))
            others[area] = images[area]
        with torch.inference_mode():
            torch.testing.assert_close(visible(encoder, images, kept), visible(encoder, others, kept))

    def test_follows_the_order_in_which_patches_are_asked_for(self, name):
        encoder = random_model(VARIANTS[name], 0).encoder.eval()
        images = images_of(1)
        with torch.inference_mode():
            one = visible(encoder, images, torch.tensor([[2, 5, 11]]))
            other = visible(encoder, images, torch.tensor([[11, 2, 5]]))
        torch.testing.assert_close(one[:, [2, 0, 1]], other, rtol=1e-4, atol=1e-5)


class TestTheAutoencoder:
    def test_autoencoder_compares_drawn_patches_with_those_of_the_image(self):
        module = autoencoder_of(TINY)
        order = torch.randperm(TINY.patches).expand(2, -1)
        images = images_of(2)
        drawn, there = module(images, order)
        hidden = TINY.patches - module.kept
        assert drawn.shape == there.shape == (2, hidden, 5 * TINY.patch**2)
        number, patch = int(order[1, module.kept]), TINY.patch
        row, column = (patch * place for place in divmod(number, 32 // patch))
        expected = torch.asinh(images[1, :, row : row + patch, column : column + patch]).flatten()
        torch.testing.assert_close(there[1, 0], expected)

    @pytest.mark.parametrize(("ratio", "kept"), [(0.75, 4), (0.5, 8), (0.99, 1), (0.01, 16)])
    def test_hides_the_share_it_is_given(self, ratio, kept):
        config = dataclasses.replace(TINY, patch=8)
        assert autoencoder_of(config, mask_ratio=ratio).kept == kept

    def test_draws_the_same_masks_from_the_same_chance(self):
        module, images = autoencoder_of(TINY), images_of(4)
        nothing = torch.empty(0)
        first, again, other = (
            reconstruction_loss(module, images, nothing, nothing, torch.Generator().manual_seed(seed)).item()
            for seed in (1, 1, 2)
        )
        assert first == again != other

    def test_learns_to_draw_what_depends_on_what_it_sees(self):
        module = autoencoder_of(TINY).train()
        rng = torch.Generator().manual_seed(0)
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
        losses = []
        for _ in range(60):
            images = (torch.rand(32, 1, 1, 1, generator=rng) * 4).expand(32, 5, 32, 32)  # one level an image
            loss = reconstruction_loss(module, images, images, images, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])

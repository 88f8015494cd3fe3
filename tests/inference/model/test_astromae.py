import math

import numpy as np
import pytest
import torch

from inference.model.astromae import AstroMAE
from inference.model.config import SMALL, AstroMAEConfig
from tests.support.models import CONVOLVED, DEPLOYED, KINDS, TINY, random_galaxies, random_model


def parameters(config):
    return sum(parameter.numel() for parameter in AstroMAE(config).parameters())


class Literal:
    """The contract, sentence by sentence, in numpy and double precision, knowing only the names of the weights."""

    def __init__(self, model):
        self.config = model.config
        self.weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def __call__(self, images, magnitudes):
        joined = [self.encoder(images), self.inception(images), self.magnitudes(magnitudes)]
        hidden = relu(self.linear(np.concatenate(joined, 1), "head.0"))
        return self.linear(hidden, "head.2")

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def layer_norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        eps = self.config.last_norm_eps if name == "encoder_head.0" else self.config.norm_eps
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def batch_norm(self, x, name):
        mean, variance, weight, bias = (
            self.weights[f"{name}.{kind}"][:, None, None] for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    def convolution(self, x, name, groups=1):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        size, height, width = weight.shape[-1], *x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), *[(size // 2, size // 2)] * 2))
        parts = []
        for inputs, kernel in zip(np.split(padded, groups, 1), np.split(weight, groups), strict=True):
            shifts = [
                np.einsum("bchw,oc->bohw", inputs[:, :, i : i + height, j : j + width], kernel[:, :, i, j])
                for i in range(size)
                for j in range(size)
            ]
            parts.append(sum(shifts))
        return np.concatenate(parts, 1) + bias[:, None, None]

    def encoder(self, images):
        config, p = self.config, self.config.patch
        kernel, bias = self.weights["encoder.patches.weight"], self.weights["encoder.patches.bias"]
        kernel = kernel.reshape(config.width, -1).T
        patches = [
            images[:, :, i : i + p, j : j + p].reshape(len(images), -1) @ kernel + bias
            for i in range(0, config.image_size, p)
            for j in range(0, config.image_size, p)
        ]
        tokens = np.stack(patches, 1)
        if config.class_token:
            first = np.broadcast_to(self.weights["encoder.class_token"], (len(images), 1, config.width))
            tokens = np.concatenate([first, tokens], 1)
        tokens = tokens + self.weights["encoder.positions"]
        for block in range(config.depth):
            tokens = self.block(tokens, f"encoder.blocks.{block}")
        mean = (tokens[:, 1:] if config.class_token else tokens).mean(1)
        x = self.linear(self.layer_norm(mean, "encoder_head.0"), "encoder_head.1")
        return self.linear(relu(self.linear(x, "encoder_head.2")), "encoder_head.4")

    def block(self, tokens, name):
        out = tokens + self.attention(self.layer_norm(tokens, f"{name}.norm_attention"), f"{name}.attention")
        if self.config.convolution_ratio is not None:
            start = 1 if self.config.class_token else 0
            side = self.config.image_size // self.config.patch
            image = tokens[:, start:].swapaxes(1, 2).reshape(len(tokens), self.config.width, side, side)
            x = self.convolution(image, f"{name}.convolution.0", self.config.convolution_groups)
            x = self.batch_norm(x, f"{name}.convolution.1")
            x = x / (1 + np.exp(-x))
            x = self.convolution(x, f"{name}.convolution.3", self.config.convolution_groups)
            out[:, start:] += x.reshape(len(tokens), self.config.width, -1).swapaxes(1, 2)
        hidden = self.linear(self.layer_norm(out, f"{name}.norm_mlp"), f"{name}.mlp.0")
        hidden = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        return out + self.linear(hidden, f"{name}.mlp.2")

    def attention(self, x, name):
        config = self.config
        q, k, v = np.split(x @ self.weights[f"{name}.qkv.weight"].T, 3, 2)
        if config.qkv_bias == "joint":
            q, k, v = (
                part + bias for part, bias in zip((q, k, v), np.split(self.weights[f"{name}.qkv.bias"], 3), strict=True)
            )
        if config.qkv_bias == "separate":
            q, v = q + self.weights[f"{name}.q_bias"], v + self.weights[f"{name}.v_bias"]
        heads = []
        for q_head, k_head, v_head in zip(*(np.split(part, config.heads, 2) for part in (q, k, v)), strict=True):
            scores = q_head @ k_head.swapaxes(1, 2) / math.sqrt(config.width / config.heads)
            weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
            heads.append(weights @ v_head)
        return self.linear(np.concatenate(heads, 2), f"{name}.project")

    def unit(self, x, name):
        return relu(self.batch_norm(self.convolution(x, f"{name}.0"), f"{name}.1"))

    def inception(self, images):
        x = halved(self.convolution(images, "inception.0"))
        x = self.inception_block(self.inception_block(x, "inception.2"), "inception.3")
        x = halved(x)
        x = self.inception_block(self.inception_block(x, "inception.5"), "inception.6")
        x = halved(x)
        x = self.inception_block(x, "inception.8", five=False).reshape(len(images), -1)
        return self.linear(relu(self.linear(x, "inception_head.1")), "inception_head.3")

    def inception_block(self, x, name, five=True):
        height, width = x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        largest = np.max([padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)
        branches = [
            self.unit(x, f"{name}.one"),
            self.unit(self.unit(x, f"{name}.three.0"), f"{name}.three.1"),
            self.unit(self.unit(x, f"{name}.five.0"), f"{name}.five.1") if five else x[:, :0],
            self.unit(largest, f"{name}.pool.1"),
        ]
        return np.concatenate(branches, 1)

    def magnitudes(self, x):
        for layer in range(self.config.magnitude_layers):
            x = self.linear(x if layer == 0 else relu(x), f"magnitudes.{2 * layer}")
        return x


def relu(x):
    return np.maximum(x, 0)


def halved(x):
    return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_computes_what_the_contract_says(kind):
    config = KINDS[kind]
    images, magnitudes = random_galaxies(config, 3)
    model = random_model(config).double()
    with torch.no_grad():
        computed = model(torch.tensor(images).double(), torch.tensor(magnitudes)).numpy()
    np.testing.assert_allclose(computed, Literal(model)(images.astype(np.float64), magnitudes), rtol=1e-10)


def test_the_published_model_with_a_plain_encoder_has_15801513_parameters():
    assert parameters(AstroMAEConfig()) == 15_801_513


def test_the_branches_of_the_published_model_join_to_3216_features():
    model = random_model(AstroMAEConfig())
    images, magnitudes = map(torch.tensor, random_galaxies(model.config, 2))
    with torch.no_grad():
        assert model.inception(images).shape == (2, 12, 4, 4)
        assert model.features(images, magnitudes).shape == (2, 3216)
        assert model(images, magnitudes).shape == (2, 1)


def test_full_size_model_with_convolutions_can_be_built():
    images, magnitudes = map(torch.tensor, random_galaxies(DEPLOYED, 2))
    with torch.no_grad():
        assert random_model(DEPLOYED)(images, magnitudes).shape == (2, 1)


def test_the_small_model_takes_less_than_a_megabyte():
    assert 4 * parameters(SMALL) < 930_000  # the header takes 30 kB


@pytest.mark.parametrize("config", [TINY, CONVOLVED])
def test_the_last_5x5_branch_has_weights_that_change_nothing(config):
    model = random_model(config)
    images, magnitudes = map(torch.tensor, random_galaxies(config, 2))
    with torch.no_grad():
        before = model(images, magnitudes)
        for parameter in model.inception[-1].five.parameters():
            parameter.fill_(7.0)
        assert torch.equal(model(images, magnitudes), before)


def test_every_other_weight_takes_part():
    model = random_model(CONVOLVED)
    model(*map(torch.tensor, random_galaxies(CONVOLVED, 8))).sum().backward()
    idle = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert idle == {name for name, _ in model.named_parameters() if name.startswith("inception.8.five.")}


@pytest.mark.parametrize("config", [TINY, CONVOLVED])
def test_a_galaxy_has_the_same_redshift_in_any_batch(config):
    model = random_model(config)
    images, magnitudes = map(torch.tensor, random_galaxies(config, 5))
    with torch.no_grad():
        together = model(images, magnitudes)
        alone = torch.cat([model(images[[i]], magnitudes[[i]]) for i in range(5)])
    torch.testing.assert_close(together, alone)

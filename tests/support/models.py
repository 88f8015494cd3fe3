"""Models of every kind that the config allows, with weights that are no special case."""

import dataclasses

from inference.model.config import AstroMAEConfig

TINY = AstroMAEConfig(
    width=12,
    depth=2,
    heads=3,
    mlp_ratio=2.0,
    inception_stem=3,
    inception_widths=(2, 3, 2, 3, 2),
    magnitude_width=7,
    magnitude_layers=3,
    branch_width=9,
    head_width=8,
)
QUANTILES = dataclasses.replace(TINY, head="quantiles")
CONVOLVED = dataclasses.replace(TINY, qkv_bias="separate", convolution_ratio=2.0, convolution_groups=4)
KINDS = {
    "plain": TINY,
    "no qkv bias": dataclasses.replace(TINY, qkv_bias="none"),
    "no class token": dataclasses.replace(TINY, class_token=False),
    "other sizes": dataclasses.replace(TINY, image_size=16, bands=4, patch=4, heads=2, norm_eps=1e-3),
    "convolved": CONVOLVED,
    "two epsilons": dataclasses.replace(CONVOLVED, norm_eps=1e-2, head_norm_eps=1e-1),
    "convolved, no class token": dataclasses.replace(
        CONVOLVED, class_token=False, convolution_ratio=0.5, convolution_groups=3
    ),
}
DEPLOYED = AstroMAEConfig(qkv_bias="separate", convolution_ratio=1.0, convolution_groups=48)


def random_model(config, seed=0):
    """A model whose biases, norms and running statistics are random too, as a trained one's are."""
    import torch

    from inference.model.astromae import AstroMAE

    rng = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = AstroMAE(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=rng)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(torch.randn(tensor.shape, generator=rng), alpha=0.2)
    return model


def random_galaxies(config, count, seed=0):
    """Images float32 (count, bands, S, S) and magnitudes float64 (count, bands)."""
    import numpy as np

    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, config.bands, config.image_size, config.image_size)).astype(np.float32)
    return images, rng.normal(size=(count, config.bands))

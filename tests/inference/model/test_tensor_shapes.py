import pytest
import torch

from inference.model.astromae import AstroMAE
from inference.model.config import AstroMAEConfig
from inference.model.tensor_shapes import BATCH_COUNT, tensor_shapes
from tests.support.models import TINY

VARIANTS = {
    "the published model": AstroMAEConfig(),
    "tiny": TINY,
    "no class token": AstroMAEConfig(depth=1, class_token=False),
    "no bias": AstroMAEConfig(depth=1, qkv_bias="none"),
    "separate biases": AstroMAEConfig(depth=2, qkv_bias="separate", mlp_ratio=2.0),
    "convolutions": AstroMAEConfig(depth=1, convolution_ratio=0.5, convolution_groups=4),
    "other sizes": AstroMAEConfig(image_size=64, bands=3, patch=16, depth=1, inception_widths=(1, 2, 3, 4, 5)),
    "one layer for magnitudes": AstroMAEConfig(depth=1, magnitude_layers=1),
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_tensor_shapes_are_those_of_the_model_in_torch(config):
    with torch.device("meta"):
        state = AstroMAE(config).state_dict()
    assert tensor_shapes(config) == {name: tuple(tensor.shape) for name, tensor in state.items()}


def test_tensor_shapes_name_the_only_integers_of_the_model():
    with torch.device("meta"):
        state = AstroMAE(VARIANTS["convolutions"]).state_dict()
    assert {name for name in state if name.endswith(BATCH_COUNT)} == {
        name for name, tensor in state.items() if not tensor.is_floating_point()
    }

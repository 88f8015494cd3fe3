import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.model.checkpoint import load
from inference.model.onnx_graph import graph_of
from tasks.training.demo_weights import WEIGHTS
from tests.support.models import DEPLOYED, KINDS, TINY, random_galaxies, random_model


def redshifts(model, images, magnitudes, *, int8=False, exact=None):
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    graph = graph_of(model.config, tensors, "0" * 64, int8=int8).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = {"images": images, "magnitudes": magnitudes.astype(np.float32)}
    return session.run(None, inputs | ({} if exact is None else {"exact": np.array(exact)}))[0]


def in_double_precision(model, images, magnitudes):
    with torch.inference_mode():
        return model.double()(torch.tensor(images).double(), torch.tensor(magnitudes)).numpy()


@st.composite
def configs(draw):
    heads = draw(st.integers(1, 3))
    groups, width = draw(st.sampled_from([1, 2])), heads * draw(st.sampled_from([2, 4, 6]))
    return dataclasses.replace(
        TINY,
        image_size=draw(st.sampled_from([8, 16, 24])),
        patch=draw(st.sampled_from([4, 8])),
        bands=draw(st.integers(1, 6)),
        head=draw(st.sampled_from(["point", "quantiles"])),
        width=width,
        heads=heads,
        depth=draw(st.integers(1, 3)),
        mlp_ratio=draw(st.sampled_from([1.0, 2.5])),
        qkv_bias=draw(st.sampled_from(["joint", "none", "separate"])),
        class_token=draw(st.booleans()),
        convolution_ratio=draw(st.sampled_from([None, 1.0, 2.0])),
        convolution_groups=groups,
        magnitude_layers=draw(st.integers(1, 3)),
        inception_widths=tuple(draw(st.lists(st.integers(1, 5), min_size=5, max_size=5))),
    )


@settings(deadline=None, max_examples=15)
@given(configs(), st.integers(1, 5), st.integers(0, 99))
def test_the_graph_of_any_config_is_the_model(config, count, seed):
    model, galaxies = random_model(config, seed), random_galaxies(config, count, seed)
    found = redshifts(model, *galaxies)
    np.testing.assert_allclose(found, in_double_precision(model, *galaxies), rtol=0, atol=3e-7)


def test_the_demo_weights_give_the_same_redshifts():
    model = load(WEIGHTS)
    images, magnitudes = random_galaxies(model.config, 16)
    magnitudes = magnitudes + 20
    found = redshifts(model, images, magnitudes)
    np.testing.assert_allclose(found, in_double_precision(model, images, magnitudes), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_deployed_encoder_at_full_size_gives_the_same_redshifts():
    model, galaxies = random_model(DEPLOYED), random_galaxies(DEPLOYED, 4)
    np.testing.assert_allclose(redshifts(model, *galaxies), in_double_precision(model, *galaxies), rtol=0, atol=3e-7)


@pytest.mark.parametrize("name", KINDS)
def test_int8_is_near_and_exact_on_demand(name):
    config = KINDS[name]
    model, galaxies = random_model(config), random_galaxies(config, 6)
    whole = redshifts(model, *galaxies)
    np.testing.assert_array_equal(redshifts(model, *galaxies, int8=True, exact=True), whole)
    reduced = redshifts(model, *galaxies, int8=True, exact=False)
    assert 0 < np.abs(reduced - whole).max() < 0.05 * np.abs(whole - whole.mean()).max() + 1e-3


def test_the_same_weights_give_the_same_bytes():
    tensors = {name: tensor.numpy() for name, tensor in random_model(TINY).state_dict().items()}
    graphs = {graph_of(TINY, tensors, "0" * 64, int8=True).SerializeToString() for _ in range(2)}
    assert len(graphs) == 1

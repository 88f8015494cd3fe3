import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from inference.model.onnx_builder import GraphBuilder, Linear


def test_two_linear_maps_are_multiplied_out():
    rng = np.random.default_rng(0)
    first, second = (Linear(rng.normal(size=(3, 3)), rng.normal(size=3)) for _ in range(2))
    values = rng.normal(size=(5, 3))
    both = first.then(second)
    one_by_one = (values @ first.weight + first.bias) @ second.weight + second.bias
    np.testing.assert_allclose(values @ both.weight + both.bias, one_by_one)


@pytest.mark.parametrize("weight", [np.ones((4, 2)) * 1e6, np.zeros((4, 2)), np.array([[-3.0, 1.0], [2.0, -1e-9]])])
def test_weights_of_int8_keep_to_seven_bits_so_that_no_processor_saturates(weight):
    builder = GraphBuilder()
    builder.int8_gemms("values", [Linear(weight, np.zeros(0))])
    by_type = {constant.data_type: numpy_helper.to_array(constant) for constant in builder.constants}
    whole, scales = by_type[onnx.TensorProto.INT8], by_type[onnx.TensorProto.FLOAT]
    assert np.abs(whole).max() <= 63
    np.testing.assert_allclose(whole * scales, weight, atol=scales.max() * 0.51)

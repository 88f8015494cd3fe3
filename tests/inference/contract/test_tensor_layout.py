import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.tensor_layout import check_layout, count_elements, is_contiguous

SIZES = st.lists(st.integers(0, 5), max_size=4)


@given(SIZES)
def test_count_elements_agrees_with_numpy(shape):
    assert count_elements(shape, 10_000) == np.zeros(shape).size


@given(SIZES, st.integers(0, 4), st.integers(0, 200))
def test_check_layout_takes_what_lies_within_the_data(shape, offset, available):
    array = np.zeros(shape, np.uint8)
    strides = list(array.strides)
    assert is_contiguous(shape, strides)
    if array.size + offset <= available:
        assert check_layout(shape, strides, offset, available) == array.size
    elif array.size:
        with pytest.raises(ValueError, match="beyond its data"):
            check_layout(shape, strides, offset, available)


def test_check_layout_takes_any_order_of_axes():
    array = np.zeros((4, 32, 32, 5), np.uint8).transpose(0, 3, 1, 2)
    assert check_layout(array.shape, array.strides, 0, array.size) == array.size
    assert not is_contiguous(array.shape, array.strides)


@pytest.mark.parametrize(
    "shape",
    [None, 6, "12", {0: 1}, [True], [2.0], [-1], [2**63, 0], [2**40, 2**40], [0, 2**47, 2**47], [1] * 9, [[1]], [7]],
    ids=repr,
)
def test_count_elements_refuses_what_is_no_shape_of_the_data(shape):
    with pytest.raises(ValueError, match="a tensor"):
        count_elements(shape, 6)


@pytest.mark.parametrize(
    ("strides", "offset"), [((0, 0), 0), ((3,), 0), ((3, 1), 1), ((3, 1), -1), ((4, 1), 0), ((3, 2**70), 0)], ids=repr
)
def test_check_layout_refuses_what_leads_out_of_the_data(strides, offset):
    available = 6 if strides != (0, 0) else 1
    with pytest.raises(ValueError, match="a tensor"):
        check_layout((2, 3), strides, offset, available)

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from inference.errors import BadPartition
from inference.partitions.safetensors_file import has_header, read_tensors

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.float64)}
GOOD = save(ARRAYS)


def made(header, data=bytes(24)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes):
    return {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes}


def test_tensors_are_views_of_the_file_bit_for_bit():
    read = read_tensors(GOOD, ("a", "b"), "1")
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        assert read[name].tolist() == array.tolist()
        assert np.shares_memory(read[name], np.frombuffer(GOOD, np.uint8))


def test_only_the_wanted_tensors_that_are_there_are_read():
    assert list(read_tensors(GOOD, ("b", "c"), "1")) == ["b"]


def test_a_tensor_that_nobody_wants_may_be_of_any_type():
    data = save({"a": np.zeros(2, np.float32), "ids": np.zeros(2, np.int64)})
    assert list(read_tensors(data, ("a",), "1")) == ["a"]
    with pytest.raises(BadPartition, match=r"^1: tensor ids must be F32 or F64, not 'I64'"):
        read_tensors(data, ("ids",), "1")


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "F16"},
        {"dtype": 7},
        {"dtype": None},
        {"dtype": ["F32"]},
        {"shape": [2, 4]},
        {"shape": [-2, -3]},
        {"shape": [2.0, 3]},
        {"shape": [True, 6]},
        {"shape": ["2", 3]},
        {"shape": 6},
        {"shape": None},
        {"shape": [2**40, 2**40], "data_offsets": [0, 2**82]},
        {"shape": [1] * 7 + [2, 3]},
        {"shape": [2**63, 0, 32, 32], "data_offsets": [0, 0]},
        {"data_offsets": [0, 20]},
        {"data_offsets": [1, 25]},
        {"data_offsets": [24, 0]},
        {"data_offsets": [-24, 0]},
        {"data_offsets": [0]},
        {"data_offsets": [0, 24, 48]},
        {"data_offsets": {"0": 24}},
    ],
    ids=repr,
)
def test_an_entry_that_lies_is_refused_by_file_and_tensor(changes):
    assert read_tensors(made(entry()), ("a",), "1")["a"].shape == (2, 3)
    with pytest.raises(BadPartition, match=r"^1: tensor a "):
        read_tensors(made(entry(**changes)), ("a",), "1")


@pytest.mark.parametrize("begin", [0, 8, 20])
def test_tensors_that_share_bytes_are_refused(begin):
    header = entry() | {"b": {"dtype": "F32", "shape": [1], "data_offsets": [begin, begin + 4]}}
    with pytest.raises(BadPartition, match=r"^1: two tensors share bytes in the safetensors header"):
        read_tensors(made(header), ("a", "b"), "1")


@pytest.mark.parametrize("value", [None, 7, "text", [], {}])
def test_an_entry_that_is_none_is_refused(value):
    with pytest.raises(BadPartition, match=r"^1: tensor a "):
        read_tensors(made({"a": value}), ("a",), "1")


@pytest.mark.parametrize(
    "header", [b"{", b"{'a': 1}", b'{"a":' * 100_000, b'{"a": ' + b"9" * 9999 + b"}", b"{\xff\xfe}"]
)
def test_a_header_that_is_no_json_is_refused(header):
    with pytest.raises(
        BadPartition, match=r"^1(: tensor a |: the safetensors header is | has a damaged safetensors header)"
    ):
        read_tensors(made(header), ("a",), "1")


def test_a_header_that_claims_exabytes_takes_no_memory():
    tracemalloc.start()
    with pytest.raises(BadPartition, match="claims a safetensors header of"):
        read_tensors(b"\xff" * 7 + b"\x7f" + b"{}", ("a",), "1")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_truncated_file_is_refused_wherever_it_ends():
    for end in range(9, len(GOOD)):
        with pytest.raises(BadPartition, match=r"^1.* truncated$"):
            read_tensors(GOOD[:end], ("a", "b"), "1")


def test_a_file_is_known_by_its_header():
    assert has_header(GOOD)
    assert not has_header(b"")
    assert not has_header(b"12345678")


def reads_or_is_refused(data):
    try:
        for array in read_tensors(data, ("a", "b"), "1").values():
            array.tobytes()
    except BadPartition as error:
        assert str(error).startswith("1")
        assert len(str(error)) < 200


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_are_read_or_refused(flips):
    data = bytearray(GOOD)
    for position, bit in flips:
        data[position] ^= 1 << bit
    reads_or_is_refused(bytes(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "F64", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.fixed_dictionaries({"a": JSON | st.fixed_dictionaries({"dtype": JSON, "shape": JSON, "data_offsets": JSON})}))
def test_any_json_header_is_read_or_refused(header):
    reads_or_is_refused(made(header))

import io
import pickletools
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.utils.data import TensorDataset

from inference.partitions.pt_file import read_tensors
from inference.partitions.pt_writer import _integer, write_dataset

FLOATS = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
ARRAYS = FLOATS.flatmap(lambda kind: arrays(kind, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=7)))


def written(tensors):
    buffer = io.BytesIO()
    write_dataset(buffer, tensors)
    return buffer.getvalue()


def same_bits(left, right):
    return [(a.dtype, a.shape, a.tobytes()) for a in left] == [(b.dtype, b.shape, b.tobytes()) for b in right]


@given(st.lists(ARRAYS, min_size=1, max_size=4))
def test_write_dataset_is_read_by_torch_with_safe_globals_only(tensors):
    with torch.serialization.safe_globals([TensorDataset]):
        dataset = torch.load(io.BytesIO(written(tensors)), weights_only=True)
    assert type(dataset) is TensorDataset
    assert same_bits(tensors, [tensor.numpy() for tensor in dataset.tensors])


@given(st.lists(ARRAYS, min_size=1, max_size=4))
def test_write_dataset_is_read_by_our_own_reader(tensors):
    assert same_bits(tensors, read_tensors(written(tensors), "x.pt"))


def test_write_dataset_is_mapped_by_torch(tmp_path):
    path = tmp_path / "1.pt"
    with path.open("wb") as file:
        write_dataset(file, [np.arange(12.0).reshape(3, 4)])
    with torch.serialization.safe_globals([TensorDataset]):
        dataset = torch.load(path, weights_only=True, mmap=True)
    assert dataset[2][0].tolist() == [8.0, 9.0, 10.0, 11.0]


def test_write_dataset_gives_the_same_bytes_for_the_same_arrays():
    tensors = [np.ones((2, 5), np.float32), np.zeros(2)]
    assert written(tensors) == written(tensors)


def test_write_dataset_aligns_every_array_to_64_bytes():
    data = written([np.ones(3, np.float32), np.ones((2, 3)), np.ones(1, np.float32)])
    for array in read_tensors(data, "x.pt"):
        offset = array.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).__array_interface__["data"][0]
        assert offset % 64 == 0


def test_write_dataset_leaves_a_sound_zip():
    with zipfile.ZipFile(io.BytesIO(written([np.ones(100)]))) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize("count", [2**31 - 1, 2**31, 2**33])
def test_write_dataset_counts_beyond_32_bits(count):
    (_, value, _), _ = pickletools.genops(_integer(count) + b".")
    assert value == count

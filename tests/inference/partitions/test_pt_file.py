import io
import mmap
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from inference.errors import BadPartition
from inference.partitions.pt_file import read_tensors
from tests.support.corruption import CLAIMS_OF_GIGABYTES, peak_bytes

STORAGE = b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"


def saved(thing, **options):
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


def archive(program, data=b"", folder="archive/", compression=zipfile.ZIP_STORED, **more):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr(f"{folder}data.pkl", program)
        made.writestr(f"{folder}data/0", data)
        for name, content in more.items():
            made.writestr(f"{folder}{name}", content)
    return file.getvalue()


def tensor_program(count=6, offset=0, shape=(2, 3), strides=(3, 1)):
    """The pickle of a tuple of one float32 tensor, with whatever numbers."""

    def number(value):
        raw = value.to_bytes(16, "little", signed=True)
        return b"\x8a\x10" + raw

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(("
        + STORAGE
        + number(count)
        + b"tQ"
        + number(offset)
        + numbers(shape)
        + numbers(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR\x85."
    )


SIX = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [lambda *tensors: TensorDataset(*tensors), lambda *t: t, list])
def test_tensors_are_read_bit_for_bit(kind, protocol):
    tensors = [torch.randn(4, 3), torch.randn(4, dtype=torch.float64), torch.arange(4)]
    thing = kind(tensors) if kind is list else kind(*tensors)
    read = read_tensors(saved(thing, pickle_protocol=protocol), "1.pt")
    assert [array.dtype for array in read] == [np.float32, np.float64, np.int64]
    for array, tensor in zip(read, tensors, strict=True):
        assert array.tobytes() == tensor.numpy().tobytes()
        assert array.shape == tuple(tensor.shape)


def test_arrays_are_views_of_the_file():
    data = saved((torch.randn(4, 3),))
    (array,) = read_tensors(data, "1.pt")
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert not array.flags.writeable


def test_a_part_of_a_larger_tensor_is_read_as_that_part():
    whole = torch.randn(10, 3)
    (array,) = read_tensors(saved((whole[4:6],)), "1.pt")
    assert array.tobytes() == whole[4:6].numpy().tobytes()


def test_tensors_may_share_their_data():
    whole = torch.randn(10, 3)
    first, last = read_tensors(saved((whole[:2], whole[8:])), "1.pt")
    assert first.tolist() == whole[:2].tolist()
    assert last.tolist() == whole[8:].tolist()


def test_strides_along_an_axis_of_length_one_do_not_matter():
    (array,) = read_tensors(saved((torch.randn(5, 3).T[:1, :1],)), "1.pt")
    assert array.shape == (1, 1)


def test_a_tensor_that_is_not_contiguous_is_refused():
    with pytest.raises(BadPartition, match=r"1\.pt.*not contiguous"):
        read_tensors(saved((torch.randn(5, 3).T,)), "1.pt")


@pytest.mark.parametrize("folder", ["", "x/", "the survey of 2024/", "a/b/c/"])
def test_the_folder_inside_the_zip_may_have_any_name(folder):
    data = archive(tensor_program(), SIX.tobytes(), folder, byteorder=b"little")
    assert read_tensors(data, "1.pt")[0].ravel().tolist() == SIX.tolist()


def test_a_file_without_a_byte_order_is_little_endian():
    assert read_tensors(archive(tensor_program(), SIX.tobytes()), "1.pt")[0].shape == (2, 3)


def test_a_big_endian_file_is_refused():
    with pytest.raises(BadPartition, match="little-endian"):
        read_tensors(archive(tensor_program(), SIX.tobytes(), byteorder=b"big"), "1.pt")


class Hostile:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_a_command_is_refused_and_nothing_runs(tmp_path, protocol):
    canary = tmp_path / "canary"
    program = pickle.dumps((torch.zeros(1), Hostile(canary))[1], protocol=protocol)
    with pytest.raises(BadPartition, match=r"1\.pt.*posix\.system.*not run"):
        read_tensors(archive(program), "1.pt")
    assert not canary.exists()
    pickle.loads(program)
    assert canary.exists(), "the canary itself must work, or this test shows nothing"


def test_a_command_hidden_behind_a_good_data_set_does_not_run(tmp_path):
    canary = tmp_path / "canary"
    dataset = TensorDataset(torch.zeros(2, 3))
    dataset.note = Hostile(canary)
    with pytest.raises(BadPartition, match=r"posix\.system"):
        read_tensors(saved(dataset), "1.pt")
    assert not canary.exists()


def test_a_saved_model_is_refused_by_the_class_that_it_wants():
    with pytest.raises(BadPartition, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_tensors(saved(torch.nn.Linear(2, 2)), "1.pt")


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch.utils.data.dataset\nTensorDataset\nX\x01\x00\x00\x00a\x85R.",
        b"\x80\x02X\x13\x00\x00\x00collections OrderedDict)R.",
        b"\x80\x02]N]\x86Q.",
        b"\x80\x02}N}b.",
    ],
    ids=["storage called", "data set with arguments", "text called", "odd id", "state of a dict"],
)
def test_known_names_put_together_wrongly_are_refused(program):
    with pytest.raises(BadPartition, match=r"1\.pt"):
        read_tensors(archive(program), "1.pt")


@pytest.mark.parametrize("thing", [{"a": torch.zeros(2)}, "text", (torch.zeros(2), "text"), ((),)])
def test_anything_but_a_collection_of_tensors_is_refused(thing):
    with pytest.raises(BadPartition, match=r"1\.pt holds something else"):
        read_tensors(saved(thing), "1.pt")


def refuse(program):
    with pytest.raises(BadPartition):
        read_tensors(archive(program), "1.pt")


@pytest.mark.parametrize("program", CLAIMS_OF_GIGABYTES.values(), ids=CLAIMS_OF_GIGABYTES)
def test_a_pickle_that_claims_gigabytes_gets_none(program):
    assert peak_bytes(lambda: refuse(program)) < 5_000_000


@pytest.mark.timeout(30, method="thread")  # hashing could not be interrupted
def test_a_key_that_would_take_forever_to_hash_is_not_hashed():
    nested = b")" + b"q\x00h\x00\x86" * 200
    with pytest.raises(BadPartition):
        read_tensors(archive(b"\x80\x02}" + nested + b"Ns."), "1.pt")


def test_a_long_pickle_is_refused_unread():
    with pytest.raises(BadPartition, match="should be small"):
        read_tensors(archive(b"\x80\x02" + b"N" * 70_000 + b"."), "1.pt")


def test_a_compressed_entry_is_refused_before_it_is_unpacked():
    bomb = archive(tensor_program(), bytes(50_000_000), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(BadPartition, match=r"1\.pt.*compressed"):
        read_tensors(bomb, "1.pt")


@pytest.mark.parametrize(
    "numbers",
    [
        {"count": 7},
        {"count": 5},
        {"count": -6},
        {"count": 2**100},
        {"offset": 1},
        {"offset": -1},
        {"shape": (3, 3)},
        {"shape": (-2, -3)},
        {"shape": (2**60, 2**60)},
        {"shape": (0, 2**100), "strides": (1, 1)},
        {"shape": (2,)},
        {"strides": (0, 0)},
        {"strides": (-3, 1)},
        {"shape": (1,) * 100, "strides": (1,) * 100},
    ],
    ids=repr,
)
def test_numbers_that_lead_out_of_the_data_are_refused(numbers):
    good = archive(tensor_program(), SIX.tobytes())
    assert read_tensors(good, "1.pt")[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(BadPartition, match=r"1\.pt"):
        read_tensors(archive(tensor_program(**numbers), SIX.tobytes()), "1.pt")


def test_a_tensor_that_reaches_beyond_its_data_is_called_that():
    with pytest.raises(BadPartition, match=r"1\.pt.*reaches beyond its data"):
        read_tensors(archive(tensor_program(offset=1), SIX.tobytes()), "1.pt")


def test_an_entry_whose_padding_leads_out_of_the_file_is_refused():
    data = bytearray(archive(tensor_program(), SIX.tobytes()))
    data[28:30] = b"\xff\xff"  # length of the first local header's extra field
    with pytest.raises(BadPartition, match=r"1\.pt.*outside the file"):
        read_tensors(bytes(data), "1.pt")


def test_a_missing_storage_is_refused():
    program = tensor_program().replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009")
    with pytest.raises(BadPartition, match=r"1\.pt"):
        read_tensors(archive(program, SIX.tobytes()), "1.pt")


def test_a_zip_without_a_pickle_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("readme.txt", "hello")
    with pytest.raises(BadPartition, match=r"1\.pt.*no data\.pkl"):
        read_tensors(file.getvalue(), "1.pt")


def test_a_directory_that_claims_to_be_huge_is_not_read(tmp_path):
    path = tmp_path / "1.pt"
    size = 2**30
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        tracemalloc.start()
        with pytest.raises(BadPartition, match="directory is far too long"):
            read_tensors(mapped, "1.pt")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()


def test_a_mapped_file_reads_as_its_bytes_do(tmp_path):
    path = tmp_path / "1.pt"
    torch.save(TensorDataset(torch.randn(4, 3)), path)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    from_file, from_bytes = read_tensors(mapped, "1.pt"), read_tensors(path.read_bytes(), "1.pt")
    assert from_file[0].tobytes() == from_bytes[0].tobytes()


GOOD = saved(TensorDataset(torch.randn(2, 3), torch.randn(2, dtype=torch.float64)))


@pytest.mark.parametrize("mapped", [False, True])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, mapped):
    path = tmp_path / "1.pt"
    for end in range(4, len(GOOD), 7):
        source = GOOD[:end]
        if mapped:
            path.write_bytes(source)
            with path.open("rb") as file:
                source = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with pytest.raises(BadPartition, match=r"1\.pt"):
            read_tensors(source, "1.pt")


def reads_or_is_refused(data):
    try:
        for array in read_tensors(bytes(data), "1.pt"):
            array.tobytes()
    except BadPartition as error:
        assert str(error).startswith("1.pt ")
        assert len(str(error)) < 300
        assert "\n" not in str(error)


@settings(max_examples=5 * settings.default.max_examples)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_are_read_or_refused(flips):
    data = bytearray(GOOD)
    for position, bit in flips:
        data[position] ^= 1 << bit
    reads_or_is_refused(data)


@settings(max_examples=3 * settings.default.max_examples)
@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 100))
def test_spliced_bytes_are_read_or_refused(inserted, position, removed):
    reads_or_is_refused(GOOD[:position] + inserted + GOOD[position + removed :])


PIECES = [
    *(bytes([code]) for code in b"N()]}tbRQ.ea0\x81\x85\x86\x87\x88\x89s2u\x93\x94"),
    b"q\x00",
    b"h\x00",
    b"K\x01",
    b"\x8a\x01\xff",
    b"X\x07\x00\x00\x00tensors",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch.utils.data.dataset\nTensorDataset\n",
    b"ccollections\nOrderedDict\n",
    b"(" + STORAGE + b"K\x06tQ",
]


@settings(max_examples=5 * settings.default.max_examples)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_program_of_known_opcodes_is_read_or_refused(pieces):
    reads_or_is_refused(archive(b"\x80\x02" + b"".join(pieces) + b".", SIX.tobytes()))

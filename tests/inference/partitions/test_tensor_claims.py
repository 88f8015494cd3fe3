"""Every reader of tensors refuses a header that claims what its bytes cannot hold, before it spends time or memory."""

import io
import json
import tracemalloc
import zipfile

import pytest

from inference.errors import CosmicError
from inference.model.checkpoint import load
from inference.partitions import access
from inference.partitions.access import open_access
from inference.partitions.partition import open_partition
from inference.partitions.pt_file import read_tensors
from inference.rank_results.predictions import decode
from inference.storage.store import Store
from tasks.checkpoint_import.convert import import_checkpoint

HUGE = 2**2000
CLAIMS = {
    "thousands of huge axes": [HUGE] * 20_000,
    "thousands of axes of one": [1] * 4000,
    "a huge axis beside an empty one": [2**63, 0, 32, 32],
    "huge axes beside an empty one": [0, 2**62, 2**62],
    "a negative axis": [-1, 5, 32, 32],
    "more than the bytes": [2**40, 5, 32, 32],
    "a product that overflows": [2**32, 2**32, 1, 1],
}


def safetensors_claiming(shape, name="images", **header):
    entries = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}} | header
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + bytes(64)


def integer(value):
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw if len(raw) < 256 else b"\x8b" + len(raw).to_bytes(4, "little") + raw


def rebuilt_tensor(shape):
    first, *others = shape
    again = [b"h\x07" if size == first else integer(size) for size in others]  # two bytes repeat a long number
    sizes = b"(" + integer(first) + b"q\x07" + b"".join(again) + b"t"
    strides = b"(" + b"K\x01" * len(shape) + b"t"
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + sizes + strides + b"\x89}tR"


def zip_of(program):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program)
        archive.writestr("archive/data/0", bytes(64))
    return file.getvalue()


def pt_claiming(shape):
    return zip_of(rebuilt_tensor(shape) * 2 + b"\x86.")


def checkpoint_claiming(shape):
    return zip_of(b"}X\x01\x00\x00\x00w" + rebuilt_tensor(shape) + b"s.")


def opened(data, folder):
    return open_partition(data, "1.pt")


def mapped(data, folder):
    (folder / "1.pt").write_bytes(data)
    return open_partition(folder / "1.pt", "1.pt")


def streamed(data, folder):
    store = Store(folder)
    store.write("bucket", "1.pt", data)
    return open_access(store, "bucket", "1.pt", store.head("bucket", "1.pt"), "stream")


def written_then(read):
    def reader(data, folder):
        (folder / "file").write_bytes(data)
        return read(folder / "file", folder)

    return reader


READERS = {
    "a .pt in memory": (pt_claiming, opened),
    "a .pt that is mapped": (pt_claiming, mapped),
    "a .pt that is streamed": (pt_claiming, streamed),
    "a safetensors partition": (safetensors_claiming, opened),
    "a safetensors partition that is streamed": (safetensors_claiming, streamed),
    "predictions": (lambda shape: safetensors_claiming(shape, "z_pred"), lambda data, _: decode(data, "0")),
    "weights": (safetensors_claiming, written_then(lambda path, _: load(path))),
    "a pickled checkpoint": (
        checkpoint_claiming,
        written_then(lambda path, folder: import_checkpoint(path, folder / "out.safetensors", heads=3)),
    ),
}


@pytest.mark.timeout(20, method="thread")  # multiplying such numbers could not be interrupted
@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("reader", READERS)
def test_a_shape_that_its_bytes_cannot_hold_is_refused(tmp_path, monkeypatch, reader, claim):
    monkeypatch.setattr(access, "SMALL", 0)
    claiming, read = READERS[reader]
    data = claiming(CLAIMS[claim])
    tracemalloc.start()
    try:
        with pytest.raises(CosmicError) as caught:
            read(data, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000_000  # with a library that is imported meanwhile
    assert str(caught.value).isprintable()


def test_the_same_file_is_read_where_its_claim_is_true():
    assert [tensor.shape for tensor in read_tensors(pt_claiming([16]), "1.pt")] == [(16,), (16,)]

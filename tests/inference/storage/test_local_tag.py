import os
import shutil

import pytest

from inference.storage.store import Store

BUCKET, KEY = "cosmicai-test", "survey/1.pt"
BYTES = bytes(range(256)) * 80


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "store" / BUCKET / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(BYTES)
    return path


def tag(root):
    (listed,) = Store(root).list(BUCKET, "survey")
    assert listed == Store(root).head(BUCKET, KEY), "a listing and a look at one object say the same"
    return listed.etag


def test_a_store_copied_with_its_times_keeps_its_tags(path, tmp_path):
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    assert tag(tmp_path / "copy") == tag(tmp_path / "store")


@pytest.mark.parametrize("at", [0, 4095, len(BYTES) - 4096, len(BYTES) - 1])
def test_another_content_of_the_same_size_and_time_has_another_tag(path, tmp_path, at):
    before, times = tag(tmp_path / "store"), path.stat()
    path.write_bytes(BYTES[:at] + bytes([BYTES[at] ^ 1]) + BYTES[at + 1 :])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert tag(tmp_path / "store") != before


@pytest.mark.parametrize("change", [lambda path: os.utime(path, (1, 1)), lambda path: path.write_bytes(BYTES + b"x")])
def test_another_time_or_size_has_another_tag(path, tmp_path, change):
    before = tag(tmp_path / "store")
    change(path)
    assert tag(tmp_path / "store") != before


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 5000], ids=len)
def test_a_short_file_is_known_by_all_of_its_bytes(path, tmp_path, data):
    path.write_bytes(data)
    os.utime(path, (1, 1))
    before = tag(tmp_path / "store")
    path.write_bytes(data[:-1] + b"y")
    os.utime(path, (1, 1))
    assert tag(tmp_path / "store") != before

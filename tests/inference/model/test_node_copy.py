"""A model on a machine with several workers: one download, verified, whoever comes first."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.errors import StoreError
from inference.model.node_copy import place_of_copy, verified_file
from inference.storage.store import Store

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FarStore(Store):
    """A folder that is read as if it lay elsewhere, slowly; counts what is read."""

    reads = 0

    def local_path(self, bucket, key):
        return None

    def read(self, bucket, key):
        type(self).reads += 1
        time.sleep(0.2)
        return super().read(bucket, key)


@pytest.fixture
def far(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.model.node_copy.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(FarStore, "reads", 0)
    (tmp_path / "store" / "a-bucket").mkdir(parents=True)
    store = FarStore(str(tmp_path / "store"))
    store.write("a-bucket", "model.safetensors", CONTENT)
    return store


def fetch(store, sha256=SHA256):
    return verified_file(store, "a-bucket", "model.safetensors", sha256)


def test_verified_file_is_fetched_once_by_workers_that_start_together(far):
    with ThreadPoolExecutor(8) as workers:
        paths = list(workers.map(lambda _: fetch(far), range(8)))
    assert len(set(paths)) == 1 and paths[0].read_bytes() == CONTENT
    assert FarStore.reads == 1


def test_verified_file_fetches_a_copy_with_other_bytes_again(far):
    fetch(far).write_bytes(b"cut off")
    assert fetch(far).read_bytes() == CONTENT
    assert FarStore.reads == 2


def test_verified_file_without_a_lock_is_fetched_all_the_same(far, monkeypatch):
    def refuse(*_):
        raise OSError("no locks here")

    monkeypatch.setattr("inference.model.node_copy.fcntl.flock", refuse)
    assert fetch(far).read_bytes() == CONTENT


def test_verified_file_refuses_content_that_was_not_planned(far):
    with pytest.raises(StoreError, match="is not the one that the run was planned with"):
        fetch(far, "0" * 64)


def test_place_of_copy_tells_models_apart():
    places = {place_of_copy("a", SHA256), place_of_copy("b", SHA256), place_of_copy("a", ""), place_of_copy("b", "")}
    assert len(places) == 4

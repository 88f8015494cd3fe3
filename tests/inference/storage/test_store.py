import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.errors import BadInput, StoreError
from inference.storage.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_what_is_written_is_read_back_and_listed_with_its_size(store):
    store.write("bucket", "a/b.txt", b"hello")
    assert store.read("bucket", "a/b.txt") == b"hello"
    [stored] = store.list("bucket", "a")
    assert (stored.key, stored.size) == ("a/b.txt", 5)
    assert store.head("bucket", "a/b.txt") == stored


def test_a_prefix_that_is_the_start_of_another_takes_only_its_own(store):
    for key in ("100MB/1.pt", "100MB-old/1.pt", "100MB2/1.pt"):
        store.write("bucket", key, b"x")
    assert [stored.key for stored in store.list("bucket", "100MB")] == ["100MB/1.pt"]


def test_a_listing_comes_in_natural_order(store):
    for number in (10, 2, 1, 100):
        store.write("bucket", f"p/{number}.pt", b"x")
    assert [s.key for s in store.list("bucket", "p")] == ["p/1.pt", "p/2.pt", "p/10.pt", "p/100.pt"]


def test_the_empty_prefix_lists_the_whole_bucket(store):
    store.write("bucket", "a.txt", b"x")
    store.write("bucket", "b/c.txt", b"x")
    assert [s.key for s in store.list("bucket", "")] == ["a.txt", "b/c.txt"]


def test_the_first_create_wins_and_a_later_one_changes_nothing(store):
    assert store.create("bucket", "k", b"first")
    assert not store.create("bucket", "k", b"second")
    assert store.read("bucket", "k") == b"first"


def test_what_is_not_there_has_no_head_and_deleting_it_is_no_error(store):
    assert store.head("bucket", "k") is None
    store.write("bucket", "other", b"x")
    assert store.head("bucket", "k") is None
    store.delete("bucket", ["k", "other"])
    assert store.list("bucket", "") == []


def test_reading_what_is_not_there_is_refused_by_bucket_and_key(store):
    with pytest.raises(StoreError, match=r"cannot read bucket/k"):
        store.read("bucket", "k")


def test_looking_makes_nothing(store, tmp_path):
    store.head("bucket", "k")
    store.list("bucket", "p")
    with pytest.raises(StoreError):
        store.read("bucket", "k")
    assert not (tmp_path / "store").exists()


def test_a_root_that_is_no_folder_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="bucket"):
        Store(tmp_path / "file").write("bucket", "k", b"x")


def test_a_bucket_in_the_root_is_refused():
    with pytest.raises(StoreError, match="bare s3://"):
        Store("s3://bucket")


@pytest.mark.parametrize("root", ["x" * 5_000, "x" * 300, "a\0b", "~nobody-of-this-name/a"])
def test_root_that_no_file_system_takes_is_refused_in_short(root):
    with pytest.raises(BadInput, match=r"^the store '.*: ") as caught:
        Store(root)
    assert len(str(caught.value)) < 200


def test_requests_are_counted_with_their_bytes_once_somebody_asks(store):
    store.write("bucket", "k", b"12345")
    store.requests = []
    store.read("bucket", "k")
    store.create("bucket", "j", b"123")
    assert [(r.bytes_read, r.bytes_written) for r in store.requests] == [(5, 0), (0, 3)]
    assert all(r.ended_at >= r.started_at > 0 for r in store.requests)


def test_keys_with_spaces_and_signs_are_kept_as_they_are(store, tmp_path):
    store.write("bucket", "Anomaly Detection/a b#%.txt", b"x")
    assert store.list("bucket", "Anomaly Detection")[0].key == "Anomaly Detection/a b#%.txt"
    assert store.local_path("bucket", "Anomaly Detection/a b#%.txt").read_bytes() == b"x"


@pytest.fixture
def outside(store, tmp_path):
    """A folder outside the bucket, which three links in the bucket lead to."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_bytes(b"outside")
    store.write("bucket", "a/b.txt", b"inside")
    bucket = tmp_path / "store" / "bucket"
    (bucket / "folder").symlink_to(folder)
    (bucket / "file.txt").symlink_to(folder / "secret.txt")
    (bucket / "a" / "up").symlink_to("../../../outside")
    return folder


@pytest.mark.parametrize("key", ["folder/secret.txt", "file.txt", "a/up/secret.txt", "folder/new.txt"])
@pytest.mark.parametrize(
    "use",
    [
        lambda store, key: store.read("bucket", key),
        lambda store, key: store.read_json("bucket", key),
        lambda store, key: store.head("bucket", key),
        lambda store, key: store.write("bucket", key, b"changed"),
        lambda store, key: store.create("bucket", key, b"changed"),
        lambda store, key: store.copy("bucket", key, "copied.txt"),
        lambda store, key: store.copy("bucket", "a/b.txt", key),
        lambda store, key: store.delete("bucket", ["a/b.txt", key]),
        lambda store, key: store.local_path("bucket", key),
        lambda store, key: store.list("bucket", ""),
        lambda store, key: store.list("bucket", key.split("/")[0]) if "/" in key else store.list("bucket", ""),
    ],
)
def test_store_refuses_links_that_lead_out_of_the_bucket(store, outside, use, key):
    with pytest.raises(StoreError, match="symbolic link that leads out of the bucket"):
        use(store, key)
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret.txt": b"outside"}


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.read("bucket", "pipe"),
        lambda store: store.find("bucket", "pipe"),
        lambda store: store.read_json("bucket", "pipe"),
        lambda store: store.head("bucket", "pipe"),
        lambda store: store.copy("bucket", "pipe", "copied.txt"),
        lambda store: store.local_path("bucket", "pipe"),
    ],
)
def test_store_refuses_what_is_no_regular_file(store, tmp_path, use):
    store.make_bucket("bucket")
    os.mkfifo(tmp_path / "store" / "bucket" / "pipe")  # who opens it waits until somebody writes
    with pytest.raises(StoreError, match="bucket/pipe is no regular file"):
        use(store)


@pytest.mark.parametrize(
    "use",
    [
        lambda store, key: store.read("bucket", key),
        lambda store, key: store.find("bucket", key),
        lambda store, key: store.head("bucket", key),
        lambda store, key: store.write("bucket", key, b"new"),
        lambda store, key: store.list("bucket", key),
    ],
)
@pytest.mark.parametrize("name", ["x" * 256, "é" * 128])
def test_store_of_folders_refuses_a_name_that_none_can_have(store, use, name, tmp_path):
    store.write("bucket", "a/b.txt", b"inside")
    with pytest.raises(BadInput, match=r"^bucket/a/.*has a name of more than 255 bytes") as caught:
        use(store, f"a/{name}/c")
    assert len(str(caught.value)) < 300
    store.write("bucket", f"a/{'x' * 240}/c", b"a long one")


def test_store_follows_links_that_stay_in_the_bucket(store, tmp_path):
    store.write("bucket", "a/b.txt", b"inside")
    (tmp_path / "store" / "bucket" / "same").symlink_to("a")
    assert store.read("bucket", "same/b.txt") == b"inside"
    assert "same/b.txt" in {stored.key for stored in store.list("bucket", "")}


def test_store_may_have_a_bucket_that_is_a_link(store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "bucket").symlink_to(tmp_path / "elsewhere")
    store.write("bucket", "k", b"x")
    assert store.read("bucket", "k") == b"x"


@pytest.mark.slow
def test_many_objects_are_deleted_at_once_over_s3(aws, filled_bucket):
    store = Store("s3://")
    keys = [f"many/{number}" for number in range(1_100)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: store.write(filled_bucket, key, b"x"), keys))
    store.delete(filled_bucket, [*keys, "many/that is not there"])
    assert store.list(filled_bucket, "many") == []


def test_download_gives_the_same_bytes_as_a_file_over_s3(aws, filled_bucket, tmp_path):
    store, data = Store("s3://"), bytes(range(256)) * 50_000
    store.write(filled_bucket, "big.bin", data)
    store.download(filled_bucket, "big.bin", tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == data
    with pytest.raises(StoreError, match=f"cannot read {filled_bucket}/none.bin"):
        store.download(filled_bucket, "none.bin", tmp_path / "none.bin")

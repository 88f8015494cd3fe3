import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract.object_keys import checked_bucket, checked_key, natural_order
from inference.errors import BadInput, StoreError
from inference.storage.store import Store


@pytest.mark.parametrize(
    "key",
    ["", "/", "/etc/passwd", "..", "a/../b", "a/./b", "a//b", "a\0b", "a\nb", "a\\b", "x" * 1025, "./a"],
)
def test_a_key_that_leaves_its_place_is_refused_by_the_name_of_its_field(key):
    with pytest.raises(BadInput, match="data_prefix"):
        checked_key(key, "data_prefix")


@pytest.mark.parametrize("key", ["100MB", "Anomaly Detection/a b#%.txt", "results/a=1/…", "a..b", ".x"])
def test_an_ordinary_key_passes_as_it_is(key):
    assert checked_key(key, "key") == key


def test_a_trailing_slash_is_dropped():
    assert checked_key("100MB/", "key") == "100MB"


@given(st.text(max_size=30))
def test_a_key_that_passes_never_names_a_parent_or_a_root(text):
    try:
        key = checked_key(text, "key")
    except BadInput as error:
        assert "\n" not in str(error)
        return
    assert not key.startswith("/")
    assert not {"", ".", ".."} & set(key.split("/"))


@pytest.mark.parametrize("bucket", ["", "ab", "A-b", "a_b", "../x", "a..b", "-ab", "x" * 64, "a/b", 7])
def test_a_bucket_that_s3_would_not_take_is_refused(bucket):
    with pytest.raises(BadInput, match="bucket"):
        checked_bucket(bucket, "bucket")


def test_keys_sort_as_people_count():
    names = ["100MB/10.pt", "100MB/1.pt", "100MB/100.pt", "100MB/2.pt"]
    assert sorted(names, key=natural_order) == [
        "100MB/1.pt",
        "100MB/2.pt",
        "100MB/10.pt",
        "100MB/100.pt",
    ]


@given(st.lists(st.text(alphabet="a1.٣-", max_size=8)))
def test_any_keys_can_be_sorted_whatever_order_they_came_in(names):
    forwards = [natural_order(name) for name in sorted(names, key=natural_order)]
    names.reverse()
    assert [natural_order(name) for name in sorted(names, key=natural_order)] == forwards


ODD = st.sampled_from(
    ["..", ".", "%2e%2e", "\uff0e\uff0e", "~", "a%2Fb", "-rf", "$HOME", "a:b", "`id`", "#1", "é", "e\u0301", "a b"]
)


@given(st.lists(ODD | st.text(min_size=1, max_size=5), min_size=1, max_size=5))
def test_an_accepted_key_lies_in_its_bucket(tmp_path_factory, parts):
    try:
        key = checked_key("/".join(parts), "key")
    except BadInput:
        return
    outside = tmp_path_factory.mktemp("keys")
    store = Store(outside / "store")
    try:
        store.write("bucket", key, b"here")
    except StoreError:  # a local store has no room for names that its file system lacks
        assert not any(path.is_file() for path in outside.rglob("*"))
        return
    assert store.read("bucket", key) == b"here"
    assert [stored.key for stored in store.list("bucket", "")] == [key]
    assert [path for path in outside.rglob("*") if path.is_file()] == [store.local_path("bucket", key)]

import dataclasses
import json
import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput, StoreError
from inference.runs.manifest import manifest_key, parse_manifest
from inference.scripts.run_script import script_hash
from tasks.staging.scripts import LEFT_OUT, Staged, look_at_folder, stage_folder
from tests.support.staged_scripts import ANOMALY, BUCKET, NAME, local_store
from tests.support.surveys import snapshot

KEYS = [
    f"{NAME}/Fine_Tune_Model/weights.bin",
    f"{NAME}/Inference/inference.py",
    f"{NAME}/blocks/__init__.py",
    f"{NAME}/blocks/line.py",
]


@pytest.fixture
def store(tmp_path):
    return local_store(tmp_path)


@pytest.fixture
def source(tmp_path):
    return shutil.copytree(ANOMALY, tmp_path / "source", ignore=shutil.ignore_patterns(*LEFT_OUT))


@pytest.fixture
def stage(store, source):
    def staged():
        done = stage_folder(store, BUCKET, NAME, source)
        return done.uploaded, done.unchanged, done.removed

    return staged


def keys_in(store):
    return sorted(stored.key for stored in store.list(BUCKET, NAME))


def test_a_folder_is_staged_whole_with_spaces_in_its_name(store, source):
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    done = stage_folder(store, BUCKET, NAME, source)
    assert keys_in(store) == KEYS
    assert done == Staged(script_hash(store.list(BUCKET, NAME)), uploaded=4, unchanged=0, removed=0, bytes=size)
    assert store.read(BUCKET, KEYS[1]) == (ANOMALY / "Inference" / "inference.py").read_bytes()


def test_what_has_not_changed_is_not_uploaded_again_and_nothing_is_written(store, source, stage, tmp_path):
    assert stage() == (4, 0, 0)
    first = snapshot(tmp_path / "store")
    for path in source.rglob("*"):
        os.utime(path)
    assert stage() == (0, 4, 0)
    assert snapshot(tmp_path / "store") == first


def test_only_the_file_whose_content_has_changed_is_uploaded(store, source, stage):
    stage()
    (source / "blocks" / "line.py").write_text("# new")
    assert stage() == (1, 3, 0)
    assert store.read(BUCKET, f"{NAME}/blocks/line.py") == b"# new"


def test_the_hash_is_of_what_lies_in_the_bucket(store, source, stage):
    before = stage_folder(store, BUCKET, NAME, source).sha256
    assert stage_folder(store, BUCKET, NAME, source).sha256 == before
    store.write(BUCKET, f"{NAME}/by hand.py", b"")
    assert stage_folder(store, BUCKET, NAME, source).sha256 != before


def test_an_object_that_somebody_changed_is_staged_again(store, stage):
    stage()
    store.write(BUCKET, KEYS[0], b"by hand")
    assert stage() == (1, 3, 0)
    assert store.read(BUCKET, KEYS[0]) == (ANOMALY / "Fine_Tune_Model" / "weights.bin").read_bytes()


def test_an_object_that_somebody_deleted_is_staged_again(store, stage):
    stage()
    store.delete(BUCKET, [KEYS[0]])
    assert stage() == (1, 3, 0)
    assert keys_in(store) == KEYS


def test_a_file_that_is_gone_is_removed_from_the_bucket(store, source, stage):
    stage()
    (source / "blocks" / "line.py").unlink()
    assert stage() == (0, 3, 1)
    assert keys_in(store) == KEYS[:3]
    assert stage() == (0, 3, 0)


def test_an_object_that_was_not_staged_from_here_is_never_removed(store, source, stage):
    store.write(BUCKET, f"{NAME}/by hand.py", b"")
    store.write(BUCKET, f"{NAME}-old/x.py", b"")
    stage()
    (source / "blocks" / "line.py").unlink()
    stage()
    assert f"{NAME}/by hand.py" in keys_in(store)
    assert store.head(BUCKET, f"{NAME}-old/x.py") is not None


def test_an_object_that_was_staged_and_then_changed_by_hand_is_not_removed(store, source, stage):
    stage()
    store.write(BUCKET, f"{NAME}/blocks/line.py", b"by hand")
    (source / "blocks" / "line.py").unlink()
    assert stage() == (0, 3, 0)
    assert store.read(BUCKET, f"{NAME}/blocks/line.py") == b"by hand"


class Interrupted(Exception):
    pass


def test_an_interrupted_upload_is_taken_up_and_still_known_to_be_ours(store, source, stage, monkeypatch):
    whole = store.write

    def breaks(bucket, key, data):
        if key.endswith("line.py"):
            raise Interrupted
        whole(bucket, key, data)

    monkeypatch.setattr(store, "write", breaks)
    with pytest.raises(Interrupted):
        stage()
    monkeypatch.undo()
    (source / "Inference" / "inference.py").unlink()
    assert stage() == (3, 0, 1)
    assert keys_in(store) == [KEYS[0], *KEYS[2:]]


def test_a_damaged_manifest_costs_an_upload_and_removes_nothing(store, source, stage):
    stage()
    store.write(BUCKET, manifest_key(NAME), b"{")
    (source / "blocks" / "line.py").unlink()
    assert stage() == (3, 0, 0)
    assert keys_in(store) == KEYS


def test_a_manifest_that_names_other_objects_does_not_have_them_removed(store, stage):
    stage()
    store.write(BUCKET, "results/0.json", b"precious")
    etag = store.head(BUCKET, "results/0.json").etag
    document = {"results/0.json": {"sha256": "", "etag": etag, "size": 8}}
    store.write(BUCKET, manifest_key(NAME), json.dumps(document).encode())
    stage()
    assert store.read(BUCKET, "results/0.json") == b"precious"


def test_a_single_file_is_staged_under_its_own_key(store, source):
    script = source / "Inference" / "inference.py"
    done = [stage_folder(store, BUCKET, "scripts/lone script.py", script) for _ in range(2)]
    assert [(each.uploaded, each.unchanged) for each in done] == [(1, 0), (0, 1)]
    assert store.read(BUCKET, "scripts/lone script.py") == script.read_bytes()
    assert done[1].sha256 == script_hash([store.head(BUCKET, "scripts/lone script.py")])


def test_what_tools_leave_in_a_folder_is_left_out(source):
    for name in (".git/config", "blocks/__pycache__/line.cpython-311.pyc", ".DS_Store", "blocks/.DS_Store", "old.pyc"):
        (source / name).parent.mkdir(exist_ok=True, parents=True)
        (source / name).write_bytes(b"x")
    assert list(look_at_folder(source, NAME)) == KEYS


def test_names_with_spaces_and_letters_of_any_alphabet_are_staged(store, source, stage):
    odd = ["ünïcode 星.txt", "100% #1 & more+.txt", "q?=x~'(1).txt", ".hidden"]
    for name in odd:
        (source / "blocks" / name).write_text(name)
    assert stage() == (8, 0, 0)
    for name in odd:
        assert store.read(BUCKET, f"{NAME}/blocks/{name}") == name.encode()
    assert stage() == (0, 8, 0)


def test_a_link_to_a_file_inside_is_that_file(store, source, stage):
    (source / "weights.bin").symlink_to("Fine_Tune_Model/weights.bin")
    stage()
    assert store.read(BUCKET, f"{NAME}/weights.bin") == store.read(BUCKET, KEYS[0])


def test_a_folder_that_is_itself_a_link_is_followed(source, tmp_path):
    (tmp_path / "link").symlink_to(source)
    assert list(look_at_folder(tmp_path / "link", NAME)) == KEYS


@pytest.mark.parametrize("target", ["/etc/hostname", "../secret.txt", "nowhere", "blocks", "..", "loop"])
def test_a_link_that_leads_elsewhere_is_refused_by_name(store, source, stage, tmp_path, target):
    (tmp_path / "secret.txt").write_text("secret")
    (source / "loop").symlink_to(target)
    with pytest.raises(BadInput, match=r"source/loop does not lead to a file|cannot read .*source/loop"):
        stage()
    assert snapshot(tmp_path / "store") == {}


def test_a_pipe_is_refused_by_name(source):
    os.mkfifo(source / "pipe")
    with pytest.raises(BadInput, match=r"source/pipe is neither a file nor a folder"):
        look_at_folder(source, NAME)


@pytest.mark.parametrize("name", ["a\nb", "back\\slash", b"\xff".decode("utf-8", "surrogateescape")])
def test_a_name_that_makes_no_key_is_refused(source, name):
    (source / name).write_text("")
    with pytest.raises(BadInput, match="script_source: a file's key holds"):
        look_at_folder(source, NAME)


def test_an_empty_folder_is_refused_before_anything_is_written(store, tmp_path):
    (tmp_path / "empty" / "__pycache__").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"script_source: the folder .*empty holds no files"):
        stage_folder(store, BUCKET, NAME, tmp_path / "empty")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "a\0b"])
def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path, name):
    with pytest.raises(BadInput, match=r"script_source: (there is no folder|cannot read) .*"):
        look_at_folder(tmp_path / name, NAME)


def test_a_store_that_refuses_is_reported(store, source, tmp_path):
    (tmp_path / "store").write_text("a file in the way")
    with pytest.raises(StoreError):
        stage_folder(store, BUCKET, NAME, source)


KEY = st.sampled_from(["F", "F/a", "F-old/a", "G", "F/../G", ""])
NOTE = st.fixed_dictionaries({"sha256": st.text() | st.none(), "etag": st.text(), "size": st.integers() | st.text()})


@given(st.binary() | st.dictionaries(KEY, NOTE | st.none() | st.lists(st.integers())) | st.lists(st.integers()))
def test_whatever_a_manifest_holds_it_speaks_of_its_folder_only(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    for key, note in parse_manifest(data, "F").items():
        assert key == "F" or key.startswith("F/")
        assert {type(value) for value in dataclasses.astuple(note)} == {str, int}

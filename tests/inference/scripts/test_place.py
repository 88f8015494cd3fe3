import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from inference.errors import RankFailed
from inference.scripts import place
from inference.scripts.place import TMP, at_tmp, own_scratch

SHOWS = "import pathlib, sys; path = pathlib.Path(sys.argv[1]); print(path.read_text(), sys.argv[2])"


@pytest.fixture
def key():
    """A folder's key that nobody else uses at /tmp."""
    name = f"cosmic test {uuid.uuid4().hex[:8]}"
    yield f"{name}/sub"
    folder = TMP / name
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        folder.rmdir()
    for note in TMP.glob(f"cosmic-scripts-of-*/{name}.link"):
        note.unlink()


def copy_of(folder, key, text):
    (folder / key).mkdir(parents=True)
    (folder / key / "file").write_text(text)
    return folder


def printed(before, *command):
    return subprocess.run([*before, *command], capture_output=True, text=True, check=True).stdout.strip()


def seen_at(key, before):
    return printed(before, sys.executable, "-c", SHOWS, str(TMP / key / "file"), "$(x) 'y'")


needs_namespaces = pytest.mark.skipif(not place.namespace(), reason="this machine allows no mount namespaces")


@needs_namespaces
def test_two_scripts_at_once_see_their_own_folder_at_the_same_place(tmp_path, key):
    one, two = (copy_of(tmp_path / name, key, name) for name in ("one", "two"))
    with at_tmp(one, key) as in_one, at_tmp(two, key) as in_two:
        assert seen_at(key, in_one) == "one $(x) 'y'"
        assert seen_at(key, in_two) == "two $(x) 'y'"


@needs_namespaces
def test_what_another_has_at_the_place_is_neither_seen_nor_changed(tmp_path, key):
    theirs = copy_of(TMP, key, "theirs") / key / "file"
    try:
        with at_tmp(copy_of(tmp_path, key, "ours"), key) as before:
            assert seen_at(key, before).startswith("ours")
        assert theirs.read_text() == "theirs"
    finally:
        theirs.unlink()
        theirs.parent.rmdir()


@needs_namespaces
def test_what_a_script_writes_to_tmp_is_its_own(tmp_path, key):
    one, two = (copy_of(tmp_path / name, key, name) for name in ("one", "two"))
    name = f"{key.partition('/')[0]}.json"
    appends = ("sh", "-c", f"echo $0 >> '/tmp/{name}'; echo $0 >> '{name}'; cat '/tmp/{name}'")
    for _ in range(2):
        with at_tmp(one, key) as in_one, at_tmp(two, key) as in_two:
            assert printed(in_one, *appends, "one") == "one\none"
            assert printed(in_two, *appends, "two") == "two\ntwo"
    assert not (TMP / name).exists()
    assert not list((TMP / key).parent.parent.glob(name))
    assert sorted(path.name for path in one.iterdir()) == [key.partition("/")[0]]


@needs_namespaces
def test_files_at_tmp_are_seen_where_they_are_named(tmp_path, key):
    theirs = TMP / f"{key.partition('/')[0]}.pem"
    theirs.write_text("certificate")
    try:
        copy = copy_of(tmp_path, key, "ours")
        with at_tmp(copy, key, [str(theirs)]) as before:
            assert printed(before, "cat", str(theirs)) == "certificate"
        with at_tmp(copy, key) as before:
            assert printed(before, "sh", "-c", 'ls "$0" || true', str(theirs)) == ""
            assert printed(before, "cat", str(copy / key / "file")) == "ours", "folders of /tmp are seen"
    finally:
        theirs.unlink()


@needs_namespaces
def test_a_folder_that_the_script_names_is_its_own_though_one_is_there(tmp_path, key):
    theirs = TMP / f"{key.partition('/')[0]} results"
    copy = copy_of(tmp_path, key, "ours")
    (copy / key / "run.py").write_text(f"os.path.join('/tmp', '{theirs.name}')")
    theirs.mkdir()
    try:
        with at_tmp(copy, key) as before:
            assert printed(before, "sh", "-c", 'ls -d "$0" || true', str(theirs)) == ""
        with at_tmp(copy, key, [f"--results={theirs}/1.json"]) as before:
            assert printed(before, "ls", "-d", str(theirs)) == str(theirs)
    finally:
        theirs.rmdir()


@needs_namespaces
def test_what_a_killed_worker_left_of_a_scripts_tmp_is_not_seen(tmp_path, key):
    copy = copy_of(tmp_path, key, "ours")
    (copy / ".cosmic-tmp").mkdir()
    (copy / ".cosmic-tmp" / "data.pt").write_text("stale")
    with at_tmp(copy, key) as before:
        assert printed(before, "sh", "-c", "ls data.pt || true") == ""


@pytest.fixture
def no_namespaces(monkeypatch):
    monkeypatch.setattr(place, "namespace", tuple)


@pytest.mark.usefixtures("no_namespaces")
class TestWithoutNamespaces:
    def test_a_link_stands_at_the_place_while_the_script_runs(self, tmp_path, key):
        with at_tmp(copy_of(tmp_path, key, "ours"), key) as before:
            assert before == []
            assert seen_at(key, before).startswith("ours")
        assert not (TMP / key).parent.is_symlink()

    def test_a_link_that_a_killed_process_left_is_replaced(self, tmp_path, key):
        leaves = (
            "import os, sys; from pathlib import Path; from inference.scripts import place\n"
            "place.namespace = tuple\n"
            "with place.at_tmp(Path(sys.argv[1]), sys.argv[2]): os._exit(0)"
        )
        command = [sys.executable, "-c", leaves, str(tmp_path / "killed"), key]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
        assert (TMP / key).parent.is_symlink()
        with at_tmp(copy_of(tmp_path, key, "ours"), key) as before:
            assert seen_at(key, before).startswith("ours")

    def test_an_empty_folder_at_the_place_makes_room(self, tmp_path, key):
        (TMP / key).parent.mkdir()
        with at_tmp(copy_of(tmp_path, key, "ours"), key) as before:
            assert seen_at(key, before).startswith("ours")

    def test_what_another_has_at_the_place_fails_the_rank_in_a_sentence(self, tmp_path, key):
        (TMP / key).parent.symlink_to(tmp_path / "theirs")
        taken = r"cannot be put at /tmp/cosmic test .*: File exists; remove what lies"
        with pytest.raises(RankFailed, match=taken), at_tmp(copy_of(tmp_path, key, "ours"), key):
            pass
        assert (TMP / key).parent.readlink() == tmp_path / "theirs"


def test_copies_at_tmp_lie_in_a_folder_of_the_user_but_for_functions(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(TMP))
    with own_scratch() as scratch:
        assert scratch.is_relative_to(TMP / f"cosmic-scripts-of-{os.geteuid()}")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "cosmic-executor")
    with own_scratch() as scratch:
        assert not scratch.is_relative_to(TMP / f"cosmic-scripts-of-{os.geteuid()}")


def test_two_processes_at_once_keep_their_copies_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(place, "namespace", lambda: ("unshare",))
    with own_scratch() as one, own_scratch() as two:
        assert (one, two) == (tmp_path, tmp_path / "cosmic-scripts-1")
    with own_scratch() as again:
        assert again == tmp_path

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.storage import temporary
from inference.storage.atomic_write import atomic_write
from inference.storage.temporary import partial_of, remove_abandoned, temporary_folder

ROOT = Path(__file__).parents[3]
KILLED = """
import os, signal
from pathlib import Path
from inference.storage.atomic_write import atomic_folder, atomic_write
from inference.storage.temporary import temporary_folder
files = atomic_write(Path("out/a.txt")), atomic_folder(Path("out/b"))
with temporary_folder("combine") as scratch, files[0] as file, files[1] as folder:
    for path in (scratch / "part", file, folder / "part"):
        path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders go; nobody has looked there yet."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    remove_abandoned.cache_clear()
    return tmp_path / "tmp"


@pytest.fixture
def left(scratch, tmp_path):
    """What a process left that was killed while it wrote a file, a folder and a temporary folder."""
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == -9
    found = [*scratch.iterdir(), *(tmp_path / "out").iterdir()]
    assert len(found) == 3
    return found


def test_what_a_killed_process_left_is_removed_by_the_next(left, tmp_path):
    with temporary_folder("combine"), atomic_write(tmp_path / "out/other.txt") as partial:
        partial.write_text("whole")
        assert not any(path.exists() for path in left)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other.txt"]


def test_what_a_living_process_writes_is_left_alone(scratch, tmp_path):
    with temporary_folder() as folder, atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("a")
        remove_abandoned.cache_clear()
        remove_abandoned(scratch)
        remove_abandoned(tmp_path)
        assert folder.exists() and partial.exists()


def test_shared_folder_of_a_dead_process_is_removed_once_it_is_empty(scratch):
    code = "from inference.storage.temporary import shared_folder\nfor _ in range(2): print(shared_folder())"
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    empty, used = map(Path, said.stdout.split())
    (used / "worker-1").mkdir()
    remove_abandoned(scratch)
    assert (empty.exists(), used.exists()) == (False, True)


@pytest.mark.parametrize(("days", "stays"), [(1, True), (8, False)])
def test_what_another_machine_left_is_removed_after_a_week(left, scratch, tmp_path, monkeypatch, days, stays):
    monkeypatch.setattr(temporary, "_machine", lambda: "0123abcd")
    at = (tmp_path / "out").stat().st_mtime - days * 86_400
    for path in left:
        os.utime(path, (at, at))
    remove_abandoned(scratch)
    remove_abandoned(tmp_path / "out")
    assert [path.exists() for path in left] == [stays] * 3


def test_names_of_others_and_links_are_not_followed(left, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "kept"
    kept.mkdir()
    (kept / "a").touch()
    (out / left[-1].name.replace(".partial", "x.partial")).touch()
    (out / left[-1].name.removeprefix(".")).touch()
    names = sorted(path.name for path in out.iterdir() if path not in left)
    link = out / left[-1].name.replace(left[-1].name[-20:-8], "0123456789ab")
    link.symlink_to(kept)
    remove_abandoned(out)
    assert sorted(path.name for path in out.iterdir()) == names
    assert (kept / "a").exists()


@pytest.mark.parametrize("name", ["a" * 255, "星" * 85], ids=["ascii", "wide"])
def test_a_name_as_long_as_may_be_has_a_partial(tmp_path, name):
    with atomic_write(tmp_path / name) as partial:
        partial.touch()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert partial_of(tmp_path / name) != partial_of(tmp_path / name)

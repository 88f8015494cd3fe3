import re
import subprocess
import sys
from pathlib import Path

import pytest

from inference.errors import StoreError
from inference.storage.atomic_write import atomic_folder, atomic_write

ROOT = Path(__file__).parents[3]
WRITERS = 3
# Each writes the same place many times, always whole, with content of its own length.
CODES = {
    "atomic_write": """
from pathlib import Path
from inference.storage.atomic_write import atomic_write
def write(folder, data):
    with atomic_write(Path(folder) / "b" / "object") as partial:
        partial.write_bytes(data)
""",
    "the store": """
from inference.storage.store import Store
def write(folder, data):
    Store(folder).write("b", "object", data)
""",
    "the index of scripts": """
from pathlib import Path
from inference.scripts.download import _write
def write(folder, data):
    _write(Path(folder), "b/object", data)
""",
    "notes beside partitions": """
from inference.storage.store import Store
from tasks.survey.partitions import Target
def write(folder, data):
    Target(Store(folder), "b/object", "").write_beside("", data)
""",
}
LOOP = """
import sys
for number in range(100):
    size = 1000 + 997 * number * int(sys.argv[2])
    write(sys.argv[1], size.to_bytes(8, "big") + b"x" * size)
"""


@pytest.mark.parametrize("writer", CODES)
def test_writers_at_once_always_leave_a_whole_file(writer, tmp_path):
    (tmp_path / "b").mkdir()
    processes = [
        subprocess.Popen([sys.executable, "-c", CODES[writer] + LOOP, str(tmp_path), str(number)], cwd=ROOT)
        for number in range(1, WRITERS + 1)
    ]
    seen = 0
    while any(process.poll() is None for process in processes):
        try:
            data = (tmp_path / "b" / "object").read_bytes()
        except FileNotFoundError:
            continue
        seen += 1
        assert len(data) == 8 + int.from_bytes(data[:8], "big")
    assert [process.wait() for process in processes] == [0] * WRITERS
    assert seen
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["object"]


def test_atomic_write_leaves_the_old_file_when_its_block_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as partial:
        partial.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_atomic_write_names_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(StoreError, match=r"^cannot write .*file/inner: ")
    with refused, atomic_write(tmp_path / "file" / "inner") as partial:
        partial.write_text("")


def test_atomic_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "sky") as partial:
        (partial / "file").write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with atomic_folder(tmp_path / "sky") as partial:
        (partial / "file").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["sky"]
    with pytest.raises(StoreError, match=r"cannot write .*sky: "), atomic_folder(tmp_path / "sky") as partial:
        (partial / "file").write_text("another")
    assert (tmp_path / "sky" / "file").read_text() == "whole"


def test_no_other_code_replaces_a_file():
    places = {
        path.relative_to(ROOT).as_posix()
        for top in ("inference", "tasks", "flows")
        for path in (ROOT / top).rglob("*.py")
        if re.search(r"os\.(replace|rename)\(|partial\.(replace|rename)\(", path.read_text())
    }
    assert places == {"inference/storage/atomic_write.py"}

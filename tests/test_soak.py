"""`make soak`: every long test runs, one file's failure ends no other, and a table tells all."""

import shlex
import subprocess
import sys

import pytest

from tests.conftest import LONGEST, ROOT
from tests.support.soak import soak, soak_files

PASSES = "import pytest\n@pytest.mark.soak\ndef test_long(): pass\ndef test_short(): assert False\n"
FAILS = "def test_journey(): assert False\n"
HEARS = """
import pytest, signal
@pytest.mark.soak
def test_long():
    assert signal.SIG_IGN not in map(signal.getsignal, (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT))
"""
HANGS = "import pytest, time\n@pytest.mark.soak\ndef test_long(): time.sleep(60)\n"


@pytest.mark.slow
def test_soak_in_the_background_starts_tests_that_hear_signals(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = soak: long\n")
    (tmp_path / "test_d.py").write_text(HEARS)
    command = shlex.join([sys.executable, "-m", "tests.support.soak", str(tmp_path / "test_d.py")])
    command += f" --logs {shlex.quote(str(tmp_path))}"
    ended = subprocess.run(["/bin/sh", "-c", f"trap '' HUP INT QUIT; exec {command}"], cwd=ROOT, timeout=200)
    assert ended.returncode == 0, (tmp_path / "test_d.log").read_text()


@pytest.mark.slow
def test_soak_goes_on_after_files_that_fail_or_hang(tmp_path, capsys):
    for name, text in {"test_a.py": PASSES, "journeys/test_b.py": FAILS, "test_c.py": HANGS}.items():
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = soak: long\n")
    files = soak_files(tmp_path)
    assert files == ["tests/journeys/test_b.py", "tests/test_a.py", "tests/test_c.py"]
    assert soak(files[:2], tmp_path / "logs", root=tmp_path) == 1
    rows = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert "FAILED: 1 failed" in rows[1] and "tests/journeys/test_b.py" in rows[1]
    assert "FAILED" not in rows[2] and "1 passed, 1 deselected" in rows[2]
    assert rows[3].endswith("1 files passed, 1 failed")
    assert soak(files[2:], tmp_path / "logs", limit_s=4, root=tmp_path) == 1
    assert "FAILED: stopped after 4 s" in capsys.readouterr().out
    assert "assert False" in (tmp_path / "logs/test_b.log").read_text()


def test_the_longest_files_of_a_session_are_files_that_exist():
    assert [name for name in LONGEST if not (ROOT / "tests" / f"{name}.py").exists()] == []


def test_soak_takes_every_journey_and_every_file_of_long_tests():
    files = soak_files()
    assert "tests/journeys/test_catalogues_of_the_demo.py" in files and "tests/flows/test_kills.py" in files
    assert files[0] == "tests/journeys/test_killed_commands.py"

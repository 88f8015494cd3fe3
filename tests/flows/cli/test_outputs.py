import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main
from flows.cli.outputs import held_output
from flows.reproduce import reproduce
from inference.storage.lease import LeaseHeldError, lease_beside
from tests.support.finished_run import BUCKET, PATH, finished_run
from tests.support.surveys import snapshot

WORDS = {
    "simulate": ("simulate", "--samples", "2", "--workers", "1", "--out", "out/it"),
    "catalogue": ("catalogue", f"{BUCKET}/{PATH}", "--store", "store", "--to", "out/it"),
    "model": ("model", "new", "--size", "small", "out/it"),
}
SUFFIXES = {"simulate": ".pt", "catalogue": ".csv", "model": ".safetensors"}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished_run(tmp_path / "store")
    return tmp_path


def words_of(command):
    return [f"{word}{SUFFIXES[command]}" if word == "out/it" else word for word in WORDS[command]]


@pytest.mark.parametrize("command", WORDS)
def test_output_that_another_command_makes_is_refused(command, place, capsys):
    with held_output(place / f"out/it{SUFFIXES[command]}", command):
        before = snapshot(place)
        assert main(words_of(command)) == 1
        assert f"is held by run cosmic {command}" in capsys.readouterr().err
        assert snapshot(place) == before
    assert main(words_of(command)) == 0
    assert not list(place.glob("out/*.cosmic"))


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_reproduction_that_another_process_makes_is_refused(place):
    with (
        lease_beside(place / "out", "another", "this").keep(),
        pytest.raises(LeaseHeldError, match="the reproduction in out is held by run another"),
    ):
        reproduce("small", str(place / "store"), "out")


def test_output_of_a_killed_command_is_free_at_once(place):
    code = "import os, pathlib; from flows.cli.outputs import held_output\n"
    code += "with held_output(pathlib.Path('out/it.pt'), 'simulate'): os.kill(os.getpid(), 9)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9
    assert list(place.glob("out/*.cosmic/*"))
    assert main(words_of("simulate")) == 0
    assert sorted(path.name for path in (place / "out").iterdir()) == ["it.html", "it.pt"]

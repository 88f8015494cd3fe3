import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main
from flows.cli.outputs import held_output
from flows.reproduce import reproduce
from inference.contract.object_keys import RESERVED, calibration_key
from inference.storage.lease import Lease, LeaseHeldError, lease_beside
from inference.storage.store import Store
from tests.support.finished_run import BUCKET, PATH, finished_run
from tests.support.legacy_modules import legacy_model, saved
from tests.support.models import CONVOLVED
from tests.support.surveys import snapshot

WORDS = {
    "simulate": ("simulate", "--samples", "2", "--workers", "1", "--out", "out/it"),
    "catalogue": ("catalogue", f"{BUCKET}/{PATH}", "--store", "store", "--to", "out/it"),
    "model": ("model", "new", "--size", "small", "out/it"),
    "calibrate": ("calibrate", f"{BUCKET}/{PATH}", "--store", "store", "--to", "out/it"),
    "import-checkpoint": ("import-checkpoint", "legacy.pt", "out/it"),
}
SUFFIXES = {
    "simulate": ".pt",
    "catalogue": ".csv",
    "model": ".safetensors",
    "calibrate": ".json",
    "import-checkpoint": ".safetensors",
}
# Where each of them has done its work and has not written it yet.
LAST_STEPS = {
    "simulate": "tasks.simulation.survey.simulate",
    "catalogue": "tasks.run_results.catalogue_formats.catalogue_bytes",
    "calibrate": "tasks.run_results.calibrate.calibrate",
    "import-checkpoint": "tasks.checkpoint_import.convert._filled",
}
MODEL = "models/tiny.safetensors"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished_run(tmp_path / "store", sizes=(120, 120))
    (tmp_path / "legacy.pt").write_bytes(saved(legacy_model(CONVOLVED)))
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
    assert not list(place.rglob("*.cosmic/*"))


def taken_over(lease):
    """Another process finds the lease run out, takes it, ends, and leaves nothing of it."""
    lease.append(dataclasses.replace(lease.newest(), seconds=0.0))  # in place of a minute's waiting
    with lease.keep(temporary=True):
        pass


def sleeping_in(step, lease, patch):
    """A step of a command ends in a process that slept while another one took its lease over."""
    module, _, name = step.rpartition(".")
    real = getattr(importlib.import_module(module), name)

    def slept(*args, **options):
        found = real(*args, **options)
        taken_over(lease)
        return found

    patch.setattr(step, slept)


@pytest.mark.parametrize("command", LAST_STEPS)
def test_command_that_slept_while_another_made_its_output_writes_nothing(command, place, capsys, monkeypatch):
    words, lease = words_of(command), lease_beside(place / f"out/it{SUFFIXES[command]}", "another", "it")
    if command == "calibrate":
        words = words[:-2]  # the model's own calibration, in the store
        lease = Lease(Store(place / "store"), BUCKET, f"{calibration_key(MODEL)}{RESERVED}", "another", "it")
    sleeping_in(LAST_STEPS[command], lease, monkeypatch)
    before = snapshot(place)
    assert main(words) == 1
    assert "was taken over by another command, which has ended" in capsys.readouterr().err.replace("\n", " ")
    assert snapshot(place) == before


def test_model_that_another_command_calibrates_is_refused(place, capsys):
    key = calibration_key(MODEL)
    lease = Lease(Store(place / "store"), BUCKET, f"{key}{RESERVED}", "cosmic calibrate", key)
    with lease.keep(temporary=True):
        before = snapshot(place)
        assert main(["calibrate", f"{BUCKET}/{PATH}", "--store", "store"]) == 1
        assert f"{BUCKET}/{key} is held by run cosmic calibrate" in capsys.readouterr().err.replace("\n", " ")
        assert snapshot(place) == before


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

"""A command that is killed and given again ends as one that nothing disturbed, bit for bit, and leaves nothing else.

One that finds the disk full says so in a sentence, and leaves no file that looks whole.
"""

import json
import os
import shutil
import subprocess
import time

import pytest

from tests.support.finished_run import BUCKET, PATH, finished_run, object_table
from tests.support.fits_survey import write_survey as write_fits_survey
from tests.support.legacy_modules import legacy_model, saved
from tests.support.models import CONVOLVED, TINY
from tests.support.run_harness import COSMIC, kill_midway
from tests.support.surveys import request_of, write_survey

pytestmark = pytest.mark.soak

SEEDS = 20, 10  # of the first five commands, and of the others
WORDS = {
    "simulate": ("--samples", "40", "--seed", "3", "--workers", "2", "--out", "out/survey.pt"),
    "partition": ("survey.pt", "--samples", "10", "--to", "out/parts"),
    "ingest": ("fits", "--samples", "10", "--to", "out/parts", "--workers", "2"),
    "train": ("survey", "--to", "out/model", "--recipe", "recipe.json", "--device", "cpu"),
    "catalogue": (f"{BUCKET}/{PATH}", "--store", "store", "--to", "out/redshifts.fits"),
    "catalogue --format hats": (
        *(f"{BUCKET}/{PATH}", "--store", "store", "--objects", "objects.parquet", "--to", "out/redshifts"),
    ),
    "calibrate": (f"{BUCKET}/{PATH}", "--store", "store", "--to", "out/mine.json"),
    "model new": ("--size", "small", "out/new.safetensors"),
    "import-checkpoint": ("legacy.pt", "out/imported.safetensors"),
    "plan": (
        *("request.json", "--store", "store", "--executor", "lambda"),
        *("--budget", "1", "--out", "out/faster.json", "--plot", "out/ways.png"),
    ),
    "metrics": (f"{BUCKET}/{PATH}", "--store", "store", "--to", "out/quality"),
    "init": ("mine", "--store", "out/store"),
    "examples": ("out/examples",),
}
STRUCK = [(command, seed) for place, command in enumerate(WORDS) for seed in range(SEEDS[0] if place < 5 else SEEDS[1])]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with what each command reads."""
    folder = tmp_path_factory.mktemp("inputs")
    write_survey(folder / "whole", (90,))
    (folder / "whole/1.pt").rename(folder / "survey.pt")
    write_survey(folder / "survey", (60, 40))
    write_fits_survey(folder / "fits", 60)
    finished_run(folder / "store", sizes=(4_000, 4_000))
    objects = object_table(folder / "store").to_pandas()
    objects.assign(ra=objects["ra"] % 360).to_parquet(folder / "objects.parquet", index=False)
    (folder / "store" / BUCKET / "models").mkdir()
    (folder / "legacy.pt").write_bytes(saved(legacy_model(CONVOLVED)))
    request = {name: value for name, value in request_of(result_path="results/new").items() if name != "model"}
    (folder / "request.json").write_text(json.dumps(request))
    (folder / "recipe.json").write_text(json.dumps({"model": TINY.to_dict(), "batch_size": 32, "epochs": 4}))
    return folder


@pytest.fixture(scope="module")
def environment(prefect_server):
    return os.environ | {"PREFECT_API_URL": prefect_server}


def started(command, folder, environment):
    (folder / "out").mkdir(exist_ok=True)
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [COSMIC, *command.split(), *WORDS[command]], cwd=folder, env=environment, stdout=log, stderr=log
        )


def to_the_end(command, folder, environment):
    process = started(command, folder, environment)
    assert process.wait(timeout=280) == 0, (folder / "log").read_text()


def written(folder):
    """{name: bytes} of every file that the command wrote: its output, and a calibration in the store."""
    found = [*(folder / "out").rglob("*"), *(folder / "store" / BUCKET / "models").rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(found) if path.is_file()}


def differences(found, expected, changing):
    """Names of files that are there and should not be, or should be and are not, or hold something else."""
    differ = found.keys() ^ expected.keys()
    return sorted(
        differ | {name for name in found.keys() & expected.keys() - changing if found[name] != expected[name]}
    )


_known = {}


@pytest.fixture
def undisturbed(inputs, environment, tmp_path):
    """What a command writes when nothing disturbs it, how long that takes, and which files differ from time to time."""

    def of(command):
        if command not in _known:
            runs = []
            for name in ("first", "second"):
                shutil.copytree(inputs, tmp_path / name)
                began = time.monotonic()
                to_the_end(command, tmp_path / name, environment)
                runs.append((written(tmp_path / name), time.monotonic() - began))
            (first, took), (second, _) = runs
            assert first.keys() == second.keys()
            _known[command] = first, {name for name in first if first[name] != second[name]}, took
        return _known[command]

    return of


@pytest.mark.parametrize(("command", "seed"), STRUCK)
def test_ends_as_an_undisturbed_one(command, seed, undisturbed, inputs, environment, tmp_path):
    expected, changing, took = undisturbed(command)
    folder = tmp_path / "killed"
    shutil.copytree(inputs, folder)
    process = started(command, folder, environment)
    kill_midway(process, took, f"{command} {seed}")
    if differences(written(folder), expected, changing):  # else it was done, and done work is never replaced unasked
        to_the_end(command, folder, environment)
    assert differences(written(folder), expected, changing) == []


ROOM = {
    "simulate": 400_000,
    "partition": 900_000,
    "ingest": 700_000,
    "train": 60_000,
    "catalogue": 120_000,
    "catalogue --format hats": 120_000,
    "model new": 120_000,
    "import-checkpoint": 12_000,
    "plan": 12_000,
    "metrics": 40_000,
    "init": 4_096,
    "examples": 60_000,
}


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap makes the small disk")
@pytest.mark.parametrize("command", ROOM)
def test_a_full_disk_is_reported_in_a_sentence(command, undisturbed, inputs, environment, tmp_path):
    expected, _, _ = undisturbed(command)
    folder, out = tmp_path / "full", tmp_path / "full/out"
    shutil.copytree(inputs, folder)
    out.mkdir()
    small_disk = [
        "bwrap",
        "--dev-bind",
        "/",
        "/",
        "--size",
        str(ROOM[command]),
        "--tmpfs",
        str(out),
        "--chdir",
        str(folder),
    ]
    script = '"$@"; code=$?; cp -r out left; exit $code'
    done = subprocess.run(
        [*small_disk, "sh", "-c", script, "sh", COSMIC, *command.split(), *WORDS[command]],
        env=environment,
        text=True,
        capture_output=True,
        timeout=280,
    )
    assert done.returncode == 1, done.stderr
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(f"cosmic {command.split()[0]}: ") and "No space left on device" in said, done.stderr
    assert "Traceback" not in done.stderr
    left = {f"out/{path.relative_to(folder / 'left')}" for path in (folder / "left").rglob("*") if path.is_file()}
    assert left - {"out/parts.cosmic/incomplete"} < expected.keys(), "the mark has readers refuse the folder"

"""A sweep, a probe and a reproduction that are killed and given again end with the redshifts of undisturbed ones.

The runs that they consist of are struck in tests/flows/test_kills.py; here it is what holds them together.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from inference.partitions.partition import write_partition
from tests.support.run_harness import COSMIC, kill_midway
from tests.support.surveys import random_survey, request_of, write_store

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

BUCKET = "cosmicai-test"
SEEDS = {"bench": 4, "plan": 4, "reproduce": 1}
STRUCK = [(command, seed) for command, count in SEEDS.items() for seed in range(count)]
SWEEP = {
    "name": "tiny",
    "request": {"bucket": BUCKET, "data_bucket": BUCKET, "model": "models/tiny.safetensors"},
    "survey": {"source": "survey.pt"},
    "axes": {"batch_size": [16, 64], "partition_size": "3MB", "data_size": "6MB"},
    "repeats": 1,
    "workers": 1,
}
# The small scale, smaller still.
REPRODUCE = """
from flows.cli import main
from tasks.reproduction.scales import SCALES, Scale
SCALES["small"] = Scale("small", 639, 25, "12.5MB", 32, ("12.5MB",), 1)
raise SystemExit(main(["reproduce", "--store", "store", "--to", "out"]))
"""
COMMANDS = {
    "bench": [COSMIC, "bench", "sweep.yaml", "--store", "store", "--results", "out"],
    "plan": [COSMIC, "plan", "request.json", "--store", "store", "--workers", "2", "--probe"],
    "reproduce": [sys.executable, "-c", REPRODUCE],
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_weights):
    """A folder with what each command reads."""
    folder = tmp_path_factory.mktemp("inputs")
    write_store(folder / "store", tiny_weights)
    write_partition(folder / "survey.pt", *random_survey(306))
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))  # which is YAML, too
    (folder / "request.json").write_text(json.dumps(request_of(result_path="results/new")))
    return folder


@pytest.fixture(scope="module")
def environment(prefect_server, tmp_path_factory):
    """Where commands report, and a place for temporary files that nobody else uses."""
    return os.environ | {"PREFECT_API_URL": prefect_server, "TMPDIR": str(tmp_path_factory.mktemp("scratch"))}


def started(command, folder, environment):
    with (folder / "log").open("a") as log:
        return subprocess.Popen(COMMANDS[command], cwd=folder, env=environment, stdout=log, stderr=log)


def to_the_end(command, folder, environment):
    assert started(command, folder, environment).wait(timeout=900) == 0, (folder / "log").read_text()[-4000:]


def redshifts(folder):
    """{run: hash of its redshifts} of every run in the folder's store that is summarized whole."""
    found = {}
    for table in (folder / "store").rglob("predictions.parquet"):
        if ".cosmic" not in table.parts:
            rows = pd.read_parquet(io.BytesIO(table.read_bytes()))[["rank", "file", "index", "z_pred"]]
            assert not rows.duplicated(["rank", "file", "index"]).any()
            found[str(table.relative_to(folder))] = hashlib.sha256(rows.to_csv().encode()).hexdigest()
    return found


_known = {}


@pytest.fixture
def undisturbed(inputs, environment, tmp_path):
    """The redshifts of a command that nothing disturbs, the names of its files, and how long it took."""

    def of(command):
        if command not in _known:
            folder = tmp_path / "undisturbed"
            shutil.copytree(inputs, folder)
            began = time.monotonic()
            to_the_end(command, folder, environment)
            _known[command] = redshifts(folder), files(folder / "out"), time.monotonic() - began
        return _known[command]

    return of


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("command", "seed"), STRUCK)
def test_killed_and_given_again_ends_as_an_undisturbed_one(command, seed, undisturbed, inputs, environment, tmp_path):
    expected, written, took = undisturbed(command)
    folder = tmp_path / "killed"
    shutil.copytree(inputs, folder)
    process = started(command, folder, environment)
    kill_midway(process, took, f"{command} {seed}")
    to_the_end(command, folder, environment)
    assert redshifts(folder) == expected
    assert files(folder / "out") == written
    assert list(Path(environment["TMPDIR"]).glob("cosmic-[!s]*")) == [], "nothing is left of the killed one"


def pages(folder):
    """Bytes that a folder takes on a file system of 4 kB pages."""
    return sum(4096 + -(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap makes the small disk")
@pytest.mark.parametrize("room", [30_000, 300_000])
@pytest.mark.parametrize("command", ["bench", "plan"])
def test_a_full_disk_is_said_and_the_command_goes_on(command, room, undisturbed, inputs, environment, tmp_path):
    expected, _, _ = undisturbed(command)
    folder = tmp_path / "full"
    shutil.copytree(inputs, folder)
    (folder / "store").rename(folder / "given")
    (folder / "store").mkdir()
    disk = ["--dev-bind", "/", "/", "--size", str(pages(folder / "given") + room), "--tmpfs", str(folder / "store")]
    script = 'cp -a given/. store/; "$@"; code=$?; cp -a store left; exit $code'
    done = subprocess.run(
        ["bwrap", *disk, "--chdir", str(folder), "sh", "-c", script, "sh", *COMMANDS[command]],
        env=environment,
        text=True,
        capture_output=True,
        timeout=900,
    )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr.strip().splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr
    (folder / "store").rmdir()
    (folder / "left").rename(folder / "store")  # copied with its times: done ranks count
    to_the_end(command, folder, environment)
    assert redshifts(folder) == expected

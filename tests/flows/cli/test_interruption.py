"""Runs that are interrupted, terminated, cancelled, or take too long: real processes, which leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Cancelling

from inference.contract.run_request import RunRequest
from inference.runs.begin import run_leases
from inference.storage.store import Store
from tests.support.surveys import read_json, request_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
COSMIC = str(Path(sys.executable).with_name("cosmic"))
SLOW = """
import json, os, pathlib, sys, time
folder = pathlib.Path(os.environ["COSMIC_STORE"]) / os.environ["RESULT_BUCKET"] / os.environ["RESULT_PATH"]
(folder / ("began-" + os.environ["RANK"])).write_text("")
if os.environ["RANK"] != "0":
    time.sleep(300)
record = {"total_cpu_time (seconds)": 2.0, "sample_persec": 10.0}
(folder / (os.environ["RANK"] + ".json")).write_text(json.dumps(record))
"""


class Run:
    """`cosmic run` with a script whose rank 0 is done at once, the others after five minutes."""

    def __init__(self, tmp_path, store, server, **changes):
        source = tmp_path / "slow"
        source.mkdir()
        (source / "run.py").write_text(SLOW)
        staged = {"script": "/tmp/slow/run.py", "S3_object_name": "slow", "script_source": str(source)}
        self.request = request_of(file_limit=4, **staged) | changes
        del self.request["model"]
        path = tmp_path / "request.json"
        path.write_text(json.dumps(self.request))
        self.results = store / "cosmicai-test" / "results" / "test"
        self.scratch = tmp_path / "tmp"
        self.scratch.mkdir()
        words = [COSMIC, "run", str(path), "--store", str(store), "--workers", "2", "--json"]
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PREFECT_API_URL": server, "TMPDIR": str(self.scratch)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def wait_until_underway(self):
        """Rank 0 is done, another one runs."""
        while not ((self.results / "0.json").exists() and len(list(self.results.glob("began-*"))) > 1):
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.05)

    def end(self):
        """Exit code and standard error, once it has ended; nothing of it is left."""
        _, error = self.process.communicate(timeout=120)
        time.sleep(0.5)
        assert list(processes_with(str(self.scratch))) == []
        assert [path.name for path in self.scratch.iterdir() if not path.name.startswith("cosmic-partition")] == []
        return self.process.returncode, error


def processes_with(text):
    """Processes, but for this one, whose environment or command line has the text."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                known = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in known:
                yield int(folder.name)


@pytest.fixture
def started(tmp_path, store, prefect_server):
    runs = []

    def start(**changes):
        runs.append(Run(tmp_path, store, prefect_server, **changes))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interrupted_run_ends_its_processes_and_keeps_done_ranks(started, store, number, code):
    run = started()
    run.wait_until_underway()
    run.process.send_signal(number)
    returned, error = run.end()
    assert returned == code, error
    assert "Traceback" not in error
    assert (run.results / "0.json").exists()
    with run_leases(Store(store), RunRequest.read(run.request), "another run"):
        """The leases are given back."""


def test_a_run_that_is_cancelled_on_the_server_stops_by_itself(started):
    run = started()
    run.wait_until_underway()
    run_id = read_json(run.results / "payload.json")["run_id"]
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, Cancelling(), force=True)
    returned, error = run.end()
    assert returned == 1, error
    assert "the run was stopped: the flow run was cancelled; 3 of 4 ranks are missing" in error
    assert (run.results / "0.json").exists()
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run_id).state.is_cancelled()


def test_a_run_that_takes_too_long_stops_and_names_what_is_missing(started):
    run = started(run_timeout=3)
    returned, error = run.end()
    assert returned == 1, error
    assert "the run was stopped: the run took longer than 3 s (run_timeout)" in error

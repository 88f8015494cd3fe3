import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from flows.cli.temporary_server import TemporaryServer
from tests.support.surveys import request_of

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
SLOWED = ROOT / "tests" / "support" / "slowed"
COSMIC = str(Path(sys.executable).with_name("cosmic"))


@pytest.fixture
def started(tmp_path, store):
    """Start a run with no server about, on a Prefect home of its own: (process, home)."""
    made = []

    def start(**environment):
        home = tmp_path / "prefect-home"
        (tmp_path / "request.json").write_text(json.dumps(request_of()))
        variables = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        made.append(
            subprocess.Popen(
                [COSMIC, "run", str(tmp_path / "request.json"), "--store", str(store), "--workers", "1"],
                env=variables | {"PREFECT_HOME": str(home)} | environment,
                cwd=tmp_path,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return made[-1], home

    yield start
    for process in made:
        process.kill()
        process.communicate()


def servers_on(home):
    """Processes of temporary servers whose Prefect home this is."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            except OSError:
                continue
            if b"temporary_server" in command and f"PREFECT_HOME={home}\0".encode() in environment:
                found.append(int(folder.name))
    return found


def test_first_run_on_a_fresh_home_completes_and_leaves_only_its_history(started):
    run, home = started()
    _, error = run.communicate(timeout=240)
    assert run.returncode == 0, error
    assert "No Prefect server is configured: starting a temporary one" in error
    assert "`cosmic ui` in another terminal" in error
    assert servers_on(home) == []
    with closing(sqlite3.connect(home / "prefect.db")) as history:
        states = history.execute("SELECT state_type FROM flow_run UNION ALL SELECT state_type FROM task_run").fetchall()
        steps = [name for (name,) in history.execute("SELECT name FROM task_run")]
    assert set(states) == {("COMPLETED",)}
    for step in ("stage", "plan", "rank 0", "summarize", "cost", "report"):
        assert any(step in name for name in steps), f"{step}: every step is a task run, also here: {steps}"


@pytest.mark.soak
def test_servers_started_at_once_on_a_fresh_home_all_start(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect-home"))
    servers = [TemporaryServer() for _ in range(3)]
    try:
        for server in servers:
            server.wait()
    finally:
        for server in servers:
            server.kill()


def test_server_does_not_outlive_a_command_that_is_killed(started):
    run, home = started()
    end = time.monotonic() + 120
    while not (servers := servers_on(home)) and time.monotonic() < end:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while servers_on(home) and time.monotonic() < end:
        time.sleep(0.05)
    assert servers
    assert servers_on(home) == []


def test_server_that_cannot_start_is_reported_in_a_sentence(started, tmp_path):
    nowhere = f"sqlite+aiosqlite:///{tmp_path}/nowhere/prefect.db"
    run, home = started(PREFECT_API_DATABASE_CONNECTION_URL=nowhere)
    _, error = run.communicate(timeout=240)
    assert run.returncode == 1
    assert error.strip().split("\n")[-1].startswith("cosmic run: the temporary Prefect server did not start: ")
    assert "Traceback" not in error
    assert servers_on(home) == []


@pytest.mark.soak
def test_killed_command_leaves_its_flow_run_as_crashed(started, tmp_path):
    run, home = started(PYTHONPATH=f"{SLOWED}:{ROOT}", COSMIC_CALLS=str(tmp_path / "calls"), COSMIC_SLOW="60")
    end = time.monotonic() + 120
    while not (tmp_path / "calls").exists():
        assert time.monotonic() < end
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while servers_on(home):
        assert time.monotonic() < end
        time.sleep(0.05)
    with closing(sqlite3.connect(home / "prefect.db")) as history:
        ended = history.execute("SELECT state_type, state_name FROM flow_run").fetchall()
    assert ended == [("CRASHED", "Crashed")]

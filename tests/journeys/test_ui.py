"""`cosmic ui` in one terminal, runs in another; a stranger's server beside them; a run that is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import free_port
from tests.support.prefect_command import ROOT, flow_runs_on, wait_for
from tests.support.surveys import request_of

COSMIC = str(Path(sys.executable).with_name("cosmic"))
SLOWED = ROOT / "tests" / "support" / "slowed"


class Home:
    """One person's Prefect home, in which commands are started."""

    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = inherited | {"PREFECT_HOME": str(folder / "home")}
        self.processes = []

    def start(self, *words, **variables):
        log = (self.folder / f"{words[0]}.log").open("w")
        process = subprocess.Popen(
            [COSMIC, *words], env=self.environment | variables, cwd=self.folder, stdout=log, stderr=log
        )
        self.processes.append(process)
        return process

    def start_run(self, **variables):
        (self.folder / "request.json").write_text(json.dumps(request_of()))
        words = ["run", str(self.folder / "request.json"), "--store", str(self.store), "--workers", "1"]
        return self.start(*words, **variables)

    def start_ui(self):
        port = free_port()
        ui = self.start("ui", "--port", str(port))
        wait_for(lambda: "now appear at" in self.log("ui") or ui.poll() is not None, every_s=0.2)
        assert ui.poll() is None, self.log("ui")
        return ui, f"http://127.0.0.1:{port}/api"

    def log(self, command):
        return (self.folder / f"{command}.log").read_text()


@pytest.fixture
def home(tmp_path, store):
    made = Home(tmp_path, store)
    yield made
    for process in made.processes:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.soak
def test_run_joins_the_server_of_cosmic_ui_only_while_it_runs(home):
    ui, url = home.start_ui()
    assert httpx.get(f"{url.removesuffix('/api')}/ui-settings").json()["api_url"] == url, "what the page asks"
    assert home.start_run().wait(timeout=280) == 0, home.log("run")
    assert f"Using the Prefect server of `cosmic ui` at {url}" in home.log("run")
    assert [run.state.type.value for run in flow_runs_on(url)] == ["COMPLETED"]
    ui.send_signal(signal.SIGINT)
    ui.wait(timeout=60)
    (home.store / "cosmicai-test" / "results").rename(home.store / "before")
    assert home.start_run().wait(timeout=280) == 0, home.log("run")
    assert "No Prefect server is configured: starting a temporary one" in home.log("run")


@pytest.mark.soak
def test_ui_that_is_ended_leaves_nothing_running(home):
    ui, url = home.start_ui()
    ui.terminate()
    assert ui.wait(timeout=60) == 0, home.log("ui")
    assert "Traceback" not in home.log("ui")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health")


@pytest.mark.soak
def test_run_that_is_killed_is_crashed_within_two_minutes(home, tmp_path):
    _, url = home.start_ui()
    run = home.start_run(PYTHONPATH=f"{SLOWED}:{ROOT}", COSMIC_CALLS=str(tmp_path / "calls"), COSMIC_SLOW="600")
    wait_for((tmp_path / "calls").exists, every_s=0.2)
    run.kill()
    wait_for(lambda: flow_runs_on(url)[0].state.is_final(), within_s=300)
    (ended,) = flow_runs_on(url)
    assert ended.state.is_crashed()
    assert "has not reported for 90 seconds" in ended.state.message


@pytest.mark.soak
def test_run_whose_terminal_is_closed_is_crashed_at_once(home, tmp_path):
    _, url = home.start_ui()
    run = home.start_run(PYTHONPATH=f"{SLOWED}:{ROOT}", COSMIC_CALLS=str(tmp_path / "calls"), COSMIC_SLOW="600")
    wait_for((tmp_path / "calls").exists, every_s=0.2)
    run.send_signal(signal.SIGHUP)
    assert run.wait(timeout=60) != 0
    assert flow_runs_on(url)[0].state.is_crashed()

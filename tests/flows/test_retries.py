"""A flow run that is retried, by Prefect or from its UI, goes on where it stopped, as a new run would."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

from flows.run import run
from inference.errors import RunIncomplete
from tests.conftest import ROOT
from tests.support.surveys import read_json, request_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The ranks that workers were called for, in order."""
    log = tmp_path / "calls"
    monkeypatch.setenv("COSMIC_CALLS", str(log))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'support' / 'slowed'}:{ROOT}")
    # What a server may be set to: then Prefect keeps what tasks return, and a retried run would find a stale plan.
    kept = {"PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true", "PREFECT_LOCAL_STORAGE_PATH": str(tmp_path / "kept")}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_RESULTS_PERSIST_BY_DEFAULT: True, PREFECT_LOCAL_STORAGE_PATH: tmp_path / "kept"}):
        yield lambda: [int(line.split()[0]) for line in log.read_text().splitlines()]


@pytest.fixture
def truncated(store):
    """A partition that is cut short, and what mends it."""
    path = store / "cosmicai-test" / "survey" / "2.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    return lambda: path.write_bytes(whole)


@pytest.mark.soak
@pytest.mark.parametrize("fresh", [False, True])
def test_run_retried_from_the_ui_keeps_its_results(store, truncated, calls, prefect_server, tmp_path, fresh):
    results = store / "cosmicai-test" / "results" / "test"
    with pytest.raises(RunIncomplete) as failed:
        run(request_of(), str(store), workers=1, fresh=fresh)
    run_id = failed.value.document["run_id"]
    kept = {rank: (results / f"{rank}.json").read_bytes() for rank in (0, 2, 3)}
    truncated()
    # What the UI's button does, and a worker then: the same flow run, scheduled once more.
    retried = subprocess.run(
        [Path(sys.executable).with_name("prefect"), "flow-run", "retry", run_id, "-e", f"{ROOT}/flows/run.py:run"],
        env=os.environ | {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True,
        text=True,
        timeout=200,
        cwd=ROOT,
    )
    assert "completed successfully" in retried.stdout + retried.stderr, retried.stdout + retried.stderr
    assert Counter(calls()) == {0: 1, 1: 2, 2: 1, 3: 1}
    assert {rank: (results / f"{rank}.json").read_bytes() for rank in kept} == kept
    document = read_json(results / "summary.json")
    assert (document["run_id"], document["ranks_done"], document["ranks_resumed"]) == (run_id, 4, 3)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run_id).state.is_completed()


def test_run_retried_by_prefect_keeps_its_results(store, truncated, calls):
    results = store / "cosmicai-test" / "results" / "test"

    def mend():
        while not (results / "summary.json").exists():
            time.sleep(0.02)
        truncated()

    threading.Thread(target=mend, daemon=True).start()
    document = run.with_options(retries=1, retry_delay_seconds=1)(request_of(), str(store), workers=1)
    assert (document["ranks_done"], document["ranks_resumed"]) == (4, 3)
    assert Counter(calls()) == {0: 1, 1: 2, 2: 1, 3: 1}

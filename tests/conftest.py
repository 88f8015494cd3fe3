"""What many tests share: scripted workers and one real Prefect server a session."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.fixtures import EVENT
from tests.surveys import write_survey

ROOT = Path(__file__).parent.parent
SCRIPTED_WORKER = (sys.executable, "-m", "tests.scripted_worker")


def events_of(world_size):
    return [
        dataclasses.replace(EVENT, rank=rank, world_size=world_size, data_paths=(f"survey/{rank}.pt",))
        for rank in range(world_size)
    ]


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """Write down what scripted workers answer; the returned function tells the calls made: (rank, attempt, process)."""
    script = tmp_path / "script.json"
    monkeypatch.setenv("COSMIC_SCRIPT", str(script))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def write(words):
        script.write_text(json.dumps({str(rank): answers for rank, answers in words.items()}))

        def calls():
            lines = script.with_suffix(".log").read_text().splitlines()
            return [tuple(map(int, line.split())) for line in lines]

        return calls

    return write


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """URL of a real Prefect server, started once."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    home = tmp_path_factory.mktemp("prefect")
    log = (home / "server.log").open("w")
    server = subprocess.Popen(
        [Path(sys.executable).with_name("prefect"), "server", "start", "--port", str(port)],
        env=os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        stdout=log,
        stderr=log,
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1):
                break
        except OSError:
            assert server.poll() is None, (home / "server.log").read_text()
            time.sleep(0.2)
    yield url
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    EventsWorker.drain_all()
    server.terminate()
    server.wait(timeout=30)
    log.close()


@pytest.fixture
def prefect_api(prefect_server):
    """Flows called in this test report to the session's server."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield prefect_server


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A small AstroMAE with random weights, its graph exported beside it."""
    import torch

    from inference.checkpoint import export_onnx, save
    from inference.model import AstroMAE
    from tests.models import TINY

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, AstroMAE(TINY))
    export_onnx(path)
    return path


@pytest.fixture
def store(tmp_path, tiny_weights):
    """A local store with a survey of four partitions and the weights, graph included."""
    root = tmp_path / "store"
    write_survey(root / "cosmicai-test" / "survey")
    models = root / "cosmicai-test" / "models"
    models.mkdir()
    for path in tiny_weights.parent.iterdir():
        shutil.copy(path, models / path.name)
    return root

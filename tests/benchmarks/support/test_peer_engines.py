import json
import os
import subprocess
import sys

import pytest

from benchmarks.parts.full_size import galaxies
from inference.contract.run_request import RunRequest
from inference.partitions.partition import write_partition
from inference.runs.plan import Model, make_plan
from inference.storage.store import Store
from tests.support.surveys import request_of


@pytest.fixture
def events(tmp_path):
    """Three ranks of a store whose model is missing."""
    folder = tmp_path / "cosmicai-test" / "survey"
    folder.mkdir(parents=True)
    for number in range(1, 4):
        write_partition(folder / f"{number}.pt", *galaxies(4))
    listing = Store(tmp_path).list("cosmicai-test", "survey")
    plan = make_plan(RunRequest.read(request_of()), listing, Model("models/none.safetensors", "ab" * 32), str(tmp_path))
    (tmp_path / "events.json").write_text(json.dumps([event.to_wire() for event in plan.events]))
    return tmp_path / "events.json"


def test_a_peer_whose_ranks_fail_says_why_and_does_not_count(events):
    command = [sys.executable, "-m", "benchmarks.support.peer_engines", "pool", str(events), "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COSMIC_THREADS": "1"})
    assert done.returncode != 0
    assert "models/none" in done.stderr

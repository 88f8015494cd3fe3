"""Six people start runs at the same moment on one Prefect server, which has enough to do."""

import json
import os
import subprocess

import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests.conftest import free_port
from tests.support.company_front import front
from tests.support.prefect_command import started_server
from tests.support.run_harness import COSMIC
from tests.support.surveys import SIZES, request_of

pytestmark = pytest.mark.soak
REQUESTS = [{"batch_size": size, "file_limit": limit} for size in (16, 64) for limit in (2, 3, 4)]


@pytest.mark.parametrize("every", [0, 3], ids=["all are answered", "a third is answered 503"])
def test_six_requests_at_once_end_with_all_their_ranks(every, store, tmp_path):
    port, results = free_port(), store / "cosmicai-test" / "results"
    (tmp_path / "server").mkdir()
    with started_server(tmp_path / "server", port), front(port) as gate:
        gate.every = every
        variables = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": f"http://127.0.0.1:{gate.port}/api"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        running = []
        for number, changes in enumerate(REQUESTS):
            request = tmp_path / f"{number}.json"
            request.write_text(json.dumps(request_of(result_path=f"results/{number}", **changes)))
            words = [COSMIC, "run", str(request), "--store", str(store), "--workers", "1", "--json"]
            log = {name: (tmp_path / f"{number}.{name}").open("w") for name in ("stdout", "stderr")}
            running.append(subprocess.Popen(words, env=inherited | variables, cwd=tmp_path, **log))
        for number, process in enumerate(running):
            assert process.wait(timeout=500) == 0, (tmp_path / f"{number}.stderr").read_text()
            document = json.loads((tmp_path / f"{number}.stdout").read_text())
            ranks = REQUESTS[number]["file_limit"]
            assert (document["ranks_done"], document["samples"]) == (ranks, sum(SIZES[:ranks]))
            combined = json.loads((results / str(number) / "combined_data.json").read_text())
            assert len(combined) == ranks
        assert gate.requests > 100
        with SyncPrefectClient(f"http://127.0.0.1:{port}/api") as client:
            states = [run.state.type.value for run in client.read_flow_runs()]
    assert every or states == ["COMPLETED"] * 6
    print(gate.requests, states)

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inference.request import RunRequest
from tests.surveys import request_of

ROOT = Path(__file__).parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))


def test_every_deployment_names_a_flow_that_there_is_and_a_request_that_is_one():
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        module, flow = deployment["entrypoint"].split(":")
        assert f"def {flow}(" in (ROOT / module).read_text()
        assert RunRequest.read(deployment["parameters"]["request"])
        assert deployment["work_pool"]["name"]


@pytest.mark.slow
def test_deployed_with_a_process_worker_the_run_is_brought_to_completed(prefect_server, store, tmp_path):
    environment = os.environ | {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path / "home")}

    def prefect(*words, timeout=240):
        return subprocess.run(
            [PREFECT, "--no-prompt", *words],
            cwd=ROOT,
            env=environment,
            text=True,
            capture_output=True,
            timeout=timeout,
        )

    made = prefect("work-pool", "create", "local", "--type", "process", "--overwrite")
    assert made.returncode == 0, made.stderr
    deployed = prefect("deploy", "--all")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    log = (tmp_path / "worker.log").open("w")
    worker = subprocess.Popen(
        [PREFECT, "worker", "start", "--pool", "local"], cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    try:
        parameters = {"store": str(store), "request": request_of(), "workers": 1}
        words = [word for name, value in parameters.items() for word in ("--param", f"{name}={json.dumps(value)}")]
        ran = prefect("deployment", "run", "run/local", *words, "--watch", "--watch-timeout", "200")
        assert ran.returncode == 0, ran.stdout + (tmp_path / "worker.log").read_text()
    finally:
        worker.terminate()
        worker.wait(timeout=60)
        log.close()
    assert (store / "cosmicai-test" / "results" / "test" / "report.html").is_file()

"""Deployments registered and run away from the checkout: by module, with PWD unset, one key of the request changed."""

import json
import shutil

import pytest

from tests.support.prefect_command import ROOT, PrefectCommand, python_without_the_project, wait_for
from tests.support.surveys import request_of

pytestmark = pytest.mark.soak
BUCKET = "cosmicai-test"


@pytest.fixture
def prefect(prefect_server, tmp_path):
    """The `prefect` command in a folder that holds prefect.yaml and nothing else, with PWD unset, as cron has it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(ROOT / "prefect.yaml", folder)
    command = PrefectCommand(prefect_server, tmp_path / "home", folder)
    command.environment.pop("PWD", None)
    command.make_pool("local")
    return command


def test_deployment_runs_without_checkout_with_one_key_changed(prefect, store, tmp_path):
    prefect.deploy("run/local", request=request_of(), store=str(store), workers=1)
    shutil.rmtree(prefect.folder)
    prefect.folder = tmp_path
    changes = {"batch_size": 17, "result_path": "results/changed"}
    prefect.run_to_completion("run/local", "local", tmp_path / "worker.log", changes=changes)
    summary = json.loads((store / BUCKET / "results" / "changed" / "summary.json").read_text())
    assert summary["request"]["batch_size"] == 17
    assert summary["request"] == request_of() | summary["request"] | changes
    (run,) = (run for run in prefect.flow_runs("run/local") if run.parameters.get("changes") == changes)
    assert run.name == f"{BUCKET}/results/changed"


def test_deployment_refuses_a_store_in_the_workers_own_folder(prefect, tmp_path):
    prefect.deploy("run/local", request=request_of())
    with prefect.worker("local", tmp_path / "worker.log"):
        prefect("deployment", "run", "run/local", "--param", "store=relative/store")
        run = wait_for(lambda: prefect.ended_run("run/local"))
    assert run.state.is_failed()
    assert "store: a deployment needs an absolute folder, ~/FOLDER or s3://, not 'relative/store'" in run.state.message


def test_worker_without_the_package_says_so_in_one_sentence(prefect, tmp_path):
    prefect.deploy("run/local", request=request_of())
    python = python_without_the_project(tmp_path)
    log = tmp_path / "worker.log"
    with prefect.worker("local", log, command=[python, "-m", "prefect"]):
        prefect("deployment", "run", "run/local")
        wait_for(lambda: "Process exited with status code" in log.read_text())
    state = prefect.ended_run("run/local").state
    assert state.is_crashed()
    assert state.message == (
        "cosmic-flows is not installed where this worker runs: install it there and start the worker again"
    )

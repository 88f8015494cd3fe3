"""What a server does by itself, once each: late runs, silent workers, cancelled parents, automations, events."""

import json

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import WorkPoolStatus
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Running

from tasks.sweeps.comparison_table import REGRESSION
from tests.conftest import free_port
from tests.support.prefect_command import PrefectCommand, started_server, wait_for
from tests.support.surveys import request_of

pytestmark = pytest.mark.soak
QUICK = {
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_FOREMAN_INACTIVITY_HEARTBEAT_MULTIPLE": "1",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "1",
}


@flow
def parent():
    """A flow, to have runs of."""


@task
def step():
    """A task, to have runs of."""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with started_server(tmp_path_factory.mktemp("server"), free_port(), **QUICK) as url:
        yield url


@pytest.fixture
def prefect(url, tmp_path):
    command = PrefectCommand(url, tmp_path / "home", PREFECT_WORKER_HEARTBEAT_SECONDS="2")
    command.make_pool("local")
    return command


@pytest.fixture
def client(url):
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        yield client


def test_run_that_no_worker_takes_becomes_late(prefect, client):
    prefect.deploy("run/local", request=request_of())
    prefect("deployment", "run", "run/local")
    wait_for(lambda: prefect.flow_runs("run/local")[-1].state.name == "Late")


def test_pool_whose_worker_is_gone_becomes_not_ready(prefect, client, tmp_path):
    with prefect.worker("local", tmp_path / "worker.log"):
        wait_for(lambda: client.read_work_pool("local").status == WorkPoolStatus.READY)
    wait_for(lambda: client.read_work_pool("local").status == WorkPoolStatus.NOT_READY)


def test_sub_flow_run_of_a_cancelled_run_is_cancelled(client):
    first = client.create_flow_run(parent, state=Running())
    between = client.create_task_run(task=step, flow_run_id=first.id, dynamic_key="0", state=Running())
    second = client.create_flow_run(parent, parent_task_run_id=between.id, state=Running())
    client.set_flow_run_state(first.id, Cancelled(), force=True)
    wait_for(lambda: client.read_flow_run(second.id).state.is_cancelled())


def test_regression_event_starts_the_action_of_an_automation(prefect, client, tmp_path):
    automation = {
        "name": "a night was slower",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": [REGRESSION],
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {"type": "pause-work-pool", "source": "selected", "work_pool_id": str(client.read_work_pool("local").id)}
        ],
    }
    path = tmp_path / "automation.json"
    path.write_text(json.dumps(automation))
    prefect("automation", "create", "--from-file", str(path))
    emit_event(REGRESSION, resource={"prefect.resource.id": "cosmic.comparison.smoke"})
    wait_for(lambda: client.read_work_pool("local").is_paused)
    wanted = {"filter": {"event": {"name": [REGRESSION]}}}
    wait_for(lambda: client.request("POST", "/events/filter", json=wanted).json()["total"] == 1)

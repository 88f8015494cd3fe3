"""deployments/server/ as its files say, on this machine's PostgreSQL: 500 task runs, a schedule, a login."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import free_port
from tests.support.postgres import postgres
from tests.support.prefect_command import ROOT, PrefectCommand, started_server, wait_for
from tests.support.surveys import request_of, write_survey

COSMIC = str(Path(sys.executable).with_name("cosmic"))
RANKS = 250
PASSWORD = "canary"
LOGIN = f"team:{PASSWORD}"


def settings_of_the_recipe(port):
    """The variables of the compose file's server, for a database on a port of this machine."""
    services = yaml.safe_load((ROOT / "deployments" / "server" / "compose.yaml").read_text())["services"]
    for name, value in services["server"]["environment"].items():
        value = value.replace("${POSTGRES_PASSWORD}", PASSWORD).replace("@database:5432", f"@127.0.0.1:{port}")
        yield name, LOGIN if "PREFECT_LOGIN" in value else value


@pytest.mark.soak
def test_server_on_postgres_holds_500_task_runs_and_a_schedule(store, tmp_path, monkeypatch):
    write_survey(store / "cosmicai-test" / "many", sizes=[2] * RANKS)
    database, port = free_port(), free_port()
    home = tmp_path / "server"
    home.mkdir()
    with (
        postgres(database, PASSWORD) as query,
        started_server(home, port, **dict(settings_of_the_recipe(database))) as url,
    ):
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", LOGIN)
        for number in (1, 2):
            request = request_of(
                data_prefix="many", file_limit=RANKS, world_size=RANKS, result_path=f"results/{number}"
            )
            (tmp_path / "request.json").write_text(json.dumps(request))
            subprocess.run(
                [COSMIC, "run", str(tmp_path / "request.json"), "--store", str(store), "--workers", "2"],
                check=True,
                env=os.environ | {"PREFECT_API_URL": url},
                cwd=tmp_path,
                timeout=900,
            )
        wait_for(lambda: int(query("SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'")) >= 2 * RANKS)
        prefect = PrefectCommand(url, tmp_path / "home")
        prefect("automation", "create", "--from-file", "deployments/server/crash-detection.yaml")
        prefect.make_pool("local")
        prefect.deploy("run/local", "--interval", "10", request=request_of(), store=str(store), workers=1)
        runs = "SELECT count(*) FROM flow_run WHERE auto_scheduled AND state_type = 'COMPLETED'"
        with prefect.worker("local", tmp_path / "worker.log"):
            wait_for(lambda: int(query(runs)) > 1, within_s=600)
        assert query("SELECT count(*) FROM automation") == "1"

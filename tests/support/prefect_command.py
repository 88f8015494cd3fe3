"""The `prefect` command against one server, a worker for a while, and a server of a test's own."""

import json
import os
import subprocess
import sys
import time
import urllib.request
import venv
from contextlib import contextmanager, suppress
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    DeploymentFilter,
    DeploymentFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

ROOT = Path(__file__).parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))


@contextmanager
def reporting_to(url):
    """Flows called here report to this server, without heartbeats, whose thread a flow awaits for up to a second."""
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _end(worker):
    """Stop a worker; Prefect's forgets a first SIGTERM that arrives while a flow run ends, and works on."""
    for stop in (worker.terminate, worker.terminate, worker.kill):
        stop()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=40)
            return


class PrefectCommand:
    """The `prefect` command in one folder, with its environment."""

    def __init__(self, url, home, folder=ROOT, **variables):
        self.url, self.folder = url, folder
        own = {"PREFECT_API_URL": url, "PREFECT_HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        self.environment = os.environ | own | variables

    def __call__(self, *words, timeout=400):
        done = subprocess.run(
            [PREFECT, "--no-prompt", *words],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make_pool(self, name, kind="process"):
        self("work-pool", "create", name, "--type", kind, "--overwrite")

    def deploy(self, name, *words, **parameters):
        """Register a deployment of prefect.yaml, named flow/name, some of its parameters replaced."""
        self("deploy", "--name", name.partition("/")[2], *words, "--params", json.dumps(parameters))

    @contextmanager
    def worker(self, pool, log, *words, command=(PREFECT,)):
        """A worker of a pool; its output goes to `log`."""
        with log.open("w") as output:
            worker = subprocess.Popen(
                [*command, "worker", "start", "--pool", pool, *words],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
            try:
                yield worker
            finally:
                _end(worker)

    def run_to_completion(self, name, pool, log, command=(PREFECT,), **parameters):
        """Run a deployment with a worker of its pool; the command fails unless the flow run ends Completed."""
        words = [word for key, value in parameters.items() for word in ("--param", f"{key}={json.dumps(value)}")]
        with self.worker(pool, log, command=command):
            try:
                self("deployment", "run", name, *words, "--watch", "--watch-timeout", "380")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{log.read_text()}") from None

    def flow_runs(self, deployment):
        """The flow runs of a deployment, the earliest expected start first."""
        with temporary_settings({PREFECT_API_URL: self.url}), get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(deployment)
            only = DeploymentFilter(id=DeploymentFilterId(any_=[found.id]))
            runs = client.read_flow_runs(deployment_filter=only)
        return sorted(runs, key=lambda run: run.expected_start_time)

    def ended_run(self, deployment):
        """The latest flow run of a deployment, if it has ended."""
        run = self.flow_runs(deployment)[-1]
        return run if run.state.is_final() else None

    def logs(self, run):
        """What a flow run logged."""
        only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        with temporary_settings({PREFECT_API_URL: self.url}), get_client(sync_client=True) as client:
            return "\n".join(log.message for log in client.read_logs(only))

    def artifacts(self, key):
        """The tables published under one key, the oldest first."""
        with temporary_settings({PREFECT_API_URL: self.url}), get_client(sync_client=True) as client:
            found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
        return [artifact.data for artifact in sorted(found, key=lambda artifact: artifact.created)]


def wait_for(condition, within_s=240, every_s=0.3):
    """Wait until a condition is true; its last value."""
    end = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not true within {within_s} s"
        time.sleep(every_s)
    return value


def flow_runs_on(url):
    """All flow runs that a server has."""
    with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        return client.read_flow_runs()


def python_without_the_project(folder, *missing):
    """The Python of a virtual environment that has every library of this one, but not the project and what is named."""
    venv.create(folder / "bare", with_pip=False)
    libraries = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    packages = next((folder / "bare" / "lib").glob("*/site-packages"))
    for library in libraries.iterdir():
        if not library.name.startswith(("__editable__", "cosmic_flows", *missing)):
            (packages / library.name).symlink_to(library)
    return str(folder / "bare" / "bin" / "python")


@contextmanager
def started_server(home, port, **variables):
    """A Prefect server with its own database; yields its API's address."""
    url = f"http://127.0.0.1:{port}/api"
    environment = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"} | variables
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [PREFECT, "server", "start", "--port", str(port)], env=os.environ | environment, stdout=log, stderr=log
        )
        try:
            for _ in range(3000):  # a busy machine has taken more than three minutes
                try:
                    with urllib.request.urlopen(f"{url}/health", timeout=1):
                        break
                except OSError:
                    assert server.poll() is None, (home / "server.log").read_text()
                    time.sleep(0.2)
            else:
                raise AssertionError(f"no answer in ten minutes: {(home / 'server.log').read_text()}")
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)

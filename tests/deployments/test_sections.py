"""The sections of deployments/ that put a flow into a container: what each pool's own worker makes of them."""

import asyncio
import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect_aws.workers.ecs_worker import ECSWorker
from prefect_docker.worker import DockerWorker
from prefect_kubernetes.worker import KubernetesWorker

from inference.contract.run_request import RunRequest
from tasks.sweeps.sweep import Sweep

ROOT = Path(__file__).parents[2]
WORKERS = {"ecs": ECSWorker, "docker": DockerWorker, "kubernetes": KubernetesWorker}
VARIABLES = {
    "COSMIC_BUCKET": "cosmicai-test",
    "COSMIC_IMAGE": "registry.example.org/cosmic-flows",
    "COSMIC_TASK_ROLE": "arn:aws:iam::123456789012:role/cosmic-flows",
    "COSMIC_STORE": "/data/store",
}


def deployments_of(section):
    text = (ROOT / "deployments" / section / "prefect.yaml").read_text()
    return yaml.safe_load(re.sub(r"\{\{ \$(\w+) \}\}", lambda match: VARIABLES[match[1]], text))["deployments"]


CASES = [
    pytest.param(WORKERS[section], deployment, id=deployment["name"])
    for section in WORKERS
    for deployment in deployments_of(section)
]


async def configuration_of(worker, deployment):
    """What the worker would start, with the deployment's job variables in its pool's template."""
    template = worker.get_default_base_job_template()
    configuration = await worker.job_configuration.from_template_and_values(
        template, deployment["work_pool"]["job_variables"]
    )
    configuration.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="a-run"))
    return configuration


@pytest.mark.parametrize(("worker", "deployment"), CASES)
class TestDeployment:
    def test_job_variables_are_those_of_the_pool(self, worker, deployment):
        known = worker.get_default_base_job_template()["variables"]["properties"]
        assert set(deployment["work_pool"]["job_variables"]) <= set(known)

    @pytest.mark.slow
    @pytest.mark.usefixtures("prefect_api")  # a pool's template may name blocks, which are asked for
    def test_worker_starts_the_image_with_prefects_own_command(self, worker, deployment):
        configuration = asyncio.run(configuration_of(worker, deployment))
        settled = json.dumps(configuration.model_dump(mode="json"), default=str)
        assert deployment["work_pool"]["job_variables"]["image"] in settled
        assert "prefect flow-run execute" in settled or '"prefect", "flow-run", "execute"' in settled

    def test_flow_is_named_by_module_and_its_parameters_are_right(self, worker, deployment):
        module, flow = deployment["entrypoint"].rsplit(".", 1)
        assert f"def {flow}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()
        parameters = deployment["parameters"]
        if "sweep" in parameters:
            assert Sweep.load(Path(parameters["sweep"]), parameters.get("changes")).cells()
        else:
            assert RunRequest.read(parameters["request"])


def test_image_holds_every_folder_that_the_package_is_made_of():
    copied = {
        source
        for line in (ROOT / "deployments" / "container" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
        for source in line.split()[1:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    assert {"flows", "tasks", "inference", "deployments", "benchmarks/sweeps"} <= copied
    linked = {path.resolve() for path in (ROOT / "deployments").rglob("*") if path.is_symlink()}
    assert {path.relative_to(ROOT).as_posix() for path in linked} <= copied

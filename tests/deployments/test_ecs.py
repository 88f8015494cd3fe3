from pathlib import Path

import pytest
import yaml
from prefect_aws.workers.ecs_worker import ECSWorker

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments" / "ecs"
DEPLOYMENTS = yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]
IN_THE_CHECKOUT = {
    deployment["name"]: deployment for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
class TestADeployment:
    def test_it_sets_only_variables_that_an_ecs_pool_has(self, deployment):
        known = ECSWorker.get_default_base_job_template()["variables"]["properties"]
        assert set(deployment["work_pool"]["job_variables"]) <= set(known)

    def test_it_is_one_of_the_checkouts_own_but_for_where_it_runs(self, deployment):
        twin = IN_THE_CHECKOUT[deployment["name"].removeprefix("ecs-")]
        assert deployment["entrypoint"] == twin["entrypoint"]
        assert set(deployment["parameters"]) == set(twin["parameters"])


def test_the_image_holds_every_file_that_a_deployment_names():
    copied = [
        line.split()[1:-1] for line in (FOLDER / "Dockerfile").read_text().splitlines() if line.startswith("COPY")
    ]
    sources = [ROOT / name for names in copied for name in names]
    assert all(source.exists() for source in sources)
    for deployment in DEPLOYMENTS:
        for name in [deployment["entrypoint"].split(":")[0], deployment["parameters"].get("sweep")]:
            assert name is None or any((ROOT / name).is_relative_to(source) for source in sources), name

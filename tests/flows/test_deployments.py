from pathlib import Path

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint

from flows.benchmark import load_sweep
from inference.contract.run_request import RunRequest
from inference.storage.store import Store
from tasks.aws.emulator import environment as emulator_environment
from tests.support.prefect_command import PrefectCommand
from tests.support.surveys import request_of

ROOT = Path(__file__).parents[2]
BUCKET = "cosmicai-test"
DEPLOYMENTS = {
    f"{deployment['entrypoint'].split('.')[-1]}/{deployment['name']}": deployment
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text().replace("{{ $COSMIC_BUCKET }}", BUCKET))[
        "deployments"
    ]
}
TINY_SWEEP = {
    "request": {"bucket": BUCKET, "data_bucket": BUCKET, "model": "models/tiny.safetensors"},
    "axes": {"batch_size": [16, 64], "partition_size": ["3MB", "5MB"], "data_size": "3MB"},
    "survey": {"samples": 306},
    "repeats": 1,
    "workers": 1,
}
CUT_DOWN = {
    "run/local": {"request": request_of(), "workers": 1},
    "run/dask": {"request": request_of(result_path="results/dask", max_concurrency=1)},
    "run/lambda": {"request": request_of(result_path="results/lambda", max_concurrency=2)},
    "run/step-functions": {"request": request_of(result_path="results/step-functions", max_concurrency=2)},
    "benchmark/nightly": {"changes": TINY_SWEEP, "fail_above": 100.0},
    "benchmark/batch-size": {"changes": TINY_SWEEP},
    "benchmark/partition-size": {"changes": TINY_SWEEP},
    "benchmark/data-size": {"changes": TINY_SWEEP | {"survey": {"samples": 306}}},
    "compare/local-vs-lambda": {
        "request": request_of(result_path="results/both", max_concurrency=2),
        "a": {"executor": "local", "workers": 1},
        "repeats": 1,
    },
}


class TestTheFile:
    def test_it_deploys_runs_sweeps_and_a_comparison(self):
        assert set(DEPLOYMENTS) == set(CUT_DOWN)

    @pytest.mark.parametrize("name", DEPLOYMENTS)
    def test_a_deployment_names_a_flow_that_there_is_and_a_pool(self, name):
        module, flow = DEPLOYMENTS[name]["entrypoint"].rsplit(".", 1)
        assert f"def {flow}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert DEPLOYMENTS[name]["work_pool"]["name"] in {"local", "aws", "benchmark"}

    @pytest.mark.parametrize("name", DEPLOYMENTS)
    def test_prefect_loads_the_flow_and_it_takes_the_parameters(self, name):
        flow = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])
        assert flow.name == name.partition("/")[0]
        assert flow.validate_parameters(DEPLOYMENTS[name]["parameters"])
        assert flow.validate_parameters(DEPLOYMENTS[name]["parameters"] | CUT_DOWN[name] | {"store": "s3://"})

    @pytest.mark.parametrize("name", [name for name in DEPLOYMENTS if not name.startswith("benchmark/")])
    def test_a_request_is_one(self, name):
        assert RunRequest.read(DEPLOYMENTS[name]["parameters"]["request"])

    @pytest.mark.parametrize("name", [name for name in DEPLOYMENTS if name.startswith("benchmark/")])
    def test_a_sweep_is_one(self, name):
        parameters = DEPLOYMENTS[name]["parameters"]
        assert load_sweep(parameters["sweep"], parameters.get("changes")).cells()

    def test_a_night_is_measured_anew_behind_a_gate_every_day(self):
        nightly = DEPLOYMENTS["benchmark/nightly"]
        assert nightly["parameters"]["fresh"] is True
        assert nightly["parameters"]["fail_above"] == 1.1
        assert CronSchedule(**nightly["schedules"][0]).cron == "0 2 * * *"


@pytest.mark.soak
def test_deployed_with_a_process_worker_the_run_is_brought_to_completed(prefect_server, store, tmp_path):
    prefect = PrefectCommand(prefect_server, tmp_path / "home")
    prefect.make_pool("local")
    prefect.deploy("run/local")
    prefect.run_to_completion("run/local", "local", tmp_path / "worker.log", store=str(store), **CUT_DOWN["run/local"])
    assert (store / BUCKET / "results" / "test" / "report.html").is_file()


@pytest.mark.soak
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_deployment_is_brought_to_completed_on_the_emulator(name, prefect_server, stack, aws, tmp_path):
    prefect = PrefectCommand(prefect_server, tmp_path / "home", **emulator_environment(aws), COSMIC_BUCKET=BUCKET)
    pool = DEPLOYMENTS[name]["work_pool"]["name"]
    prefect.make_pool(pool)
    prefect.deploy(name)
    prefect.run_to_completion(name, pool, tmp_path / "worker.log", store="s3://", **CUT_DOWN[name])
    written = {item.key for item in Store("s3://").list(BUCKET, "")}
    kind, _, deployment = name.partition("/")
    if kind == "run":
        assert f"{CUT_DOWN[name]['request']['result_path']}/report.html" in written
    elif kind == "benchmark":
        sweep = "smoke" if deployment == "nightly" else deployment
        assert f"sweeps/{sweep}/report.html" in written
        assert (f"sweeps/{sweep}/last-good.json" in written) == (deployment == "nightly")
    else:
        assert {f"results/both/{side}/1/summary.json" for side in "ab"} <= written

"""Deployments that run by themselves: the server's scheduler, a worker, and a clock."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.prefect_command import PrefectCommand, wait_for
from tests.support.surveys import request_of

BUCKET = "cosmicai-test"

TINY_SWEEP = {
    "request": {"bucket": BUCKET, "data_bucket": BUCKET, "model": "models/tiny.safetensors"},
    "axes": {"batch_size": [16], "partition_size": ["3MB"], "data_size": "3MB"},
    "survey": {"samples": 306},
    "repeats": 2,
    "workers": 1,
}


def completed(runs):
    return [run for run in runs if run.state.is_completed()]


@pytest.mark.slow
def test_deployment_with_an_interval_runs_repeatedly_by_itself(prefect_server, store, tmp_path):
    prefect = PrefectCommand(prefect_server, tmp_path / "home")
    prefect.make_pool("local")
    prefect.deploy("run/local", "--interval", "20", request=request_of(), store=str(store), workers=1)
    with prefect.worker("local", tmp_path / "worker.log", "--limit", "1"):
        wait_for(lambda: sum(run.auto_scheduled for run in completed(prefect.flow_runs("run/local"))) > 1)
    prefect("deployment", "delete", "run/local")
    assert (store / BUCKET / "results" / "test" / "summary.json").is_file()


@pytest.mark.soak
def test_nightly_benchmark_moved_to_the_next_minute_completes_and_compares(prefect_server, store, tmp_path):
    prefect = PrefectCommand(prefect_server, tmp_path / "home")
    prefect.make_pool("benchmark")
    parameters = {"changes": TINY_SWEEP, "fail_above": 100.0, "store": str(store)}
    with prefect.worker("benchmark", tmp_path / "worker.log"):
        for nights in (1, 2):
            soon = datetime.now(UTC) + timedelta(seconds=90)
            prefect.deploy("benchmark/nightly", "--cron", f"{soon.minute} {soon.hour} * * *", **parameters)
            wait_for(lambda n=nights: len(completed(prefect.flow_runs("benchmark/nightly"))) == n)
    prefect("deployment", "delete", "benchmark/nightly")
    assert (store / BUCKET / "sweeps" / "smoke" / "last-good.json").is_file()
    first, second = map(json.loads, prefect.artifacts("sweep-smoke-gate"))
    assert first == []  # there was nothing to compare with
    assert second[0]["Metric"] == "Makespan, s"
    verdicts = ("within the noise", "is better", "is worse")  # which of them: what else the machine does
    assert second[0]["Verdict"].partition(",")[0].endswith(verdicts)

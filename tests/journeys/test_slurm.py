"""A run on a real SLURM: jobs start, one is cancelled in the middle, and every rank is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.rank_results.publish_summary import summary_key
from inference.storage.store import Store
from tests.support.prefect_command import PrefectCommand, wait_for
from tests.support.slurm import NEEDS, can_start, one_node, queue
from tests.support.surveys import request_of

pytestmark = [pytest.mark.soak, pytest.mark.skipif(not can_start(), reason=NEEDS)]
COSMIC = str(Path(sys.executable).with_name("cosmic"))
CLUSTER = """
cluster_class: dask_jobqueue.SLURMCluster
cluster_kwargs:
  cores: 1
  processes: 1
  memory: 1GB
  walltime: "{walltime}"
  log_directory: {logs}
  interface: lo
adapt_kwargs:
  minimum_jobs: 1
  maximum_jobs: {jobs}
wait_for_workers: {wait}
usd_per_core_hour: 0.05
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with one_node(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture
def command(slurm, store, tmp_path, prefect_server):
    """The words and the environment of a run on SLURM."""

    def make(request, jobs=2, wait=300, walltime="00:10:00"):
        (tmp_path / "request.json").write_text(json.dumps(request))
        (tmp_path / "slurm.yaml").write_text(
            CLUSTER.format(logs=tmp_path / "logs", jobs=jobs, wait=wait, walltime=walltime)
        )
        where = ["--executor", "dask", "--cluster", str(tmp_path / "slurm.yaml"), "--store", str(store), "--json"]
        return [COSMIC, "run", str(tmp_path / "request.json"), *where]

    return lambda *of, **more: {
        "args": make(*of, **more),
        "env": os.environ | {"PREFECT_API_URL": prefect_server},
        "cwd": tmp_path,
        "text": True,
    }


def running_jobs():
    return queue("squeue", "--noheader", "--states", "RUNNING", "--format", "%i").split()


def test_a_run_whose_job_is_cancelled_in_the_middle_ends_whole(command, store):
    request = request_of(world_size=120, batch_size=1)
    run = subprocess.Popen(**command(request), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    results = store / request["bucket"] / request["result_path"]
    wait_for(lambda: len(list(results.glob("[0-9]*.json"))) >= 5 and running_jobs(), every_s=0.1)
    cancelled = running_jobs()[0]
    queue("scancel", cancelled)
    out, err = run.communicate(timeout=300)
    document = json.loads(out)
    assert run.returncode == 0, err
    assert (document["ranks_done"], document["missing_ranks"]) == (120, [])
    assert document["cluster"]["workers"] >= 1
    assert document["cluster"]["core_seconds_used"] < document["cluster"]["core_seconds_allocated"]
    wait_for(lambda: not running_jobs(), within_s=60)
    print(f"job {cancelled} cancelled; {document['cluster']}; makespan {document['makespan_s']:.1f} s")


def test_a_run_longer_than_its_jobs_ends_whole_and_loses_no_attempt(command):
    request = request_of(world_size=3000, batch_size=1)
    ended = subprocess.run(**command(request, walltime="00:01:00"), capture_output=True, timeout=900)
    document = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert (document["ranks_done"], document["missing_ranks"]) == (3000, [])
    assert {row["attempt"] for row in document["ranks"]} == {1}
    assert document["makespan_s"] > 60, "longer than a job"


def test_a_job_that_never_starts_is_named_with_slurms_reason(command):
    queue("scontrol", "update", "PartitionName=debug", "State=DOWN")
    try:
        ended = subprocess.run(**command(request_of(), wait=15), capture_output=True, timeout=300)
    finally:
        queue("scontrol", "update", "PartitionName=debug", "State=UP")
    assert ended.returncode == 1
    assert "no worker of the cluster took a rank within 15 s" in ended.stderr
    assert "PENDING (PartitionDown)" in ended.stderr


def test_a_flow_started_by_sbatch_reports_to_a_server_elsewhere(command, slurm, prefect_server, tmp_path, store):
    (tmp_path / "request.json").write_text(json.dumps(request_of()))
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/sh\n{COSMIC} run {tmp_path}/request.json --store {store} --workers 1 --json\n")
    queue("sbatch", "--wait", f"--export=ALL,PREFECT_API_URL={prefect_server}", f"--output={tmp_path}/out", str(script))
    out = (tmp_path / "out").read_text()
    assert '"ranks_done": 4' in out, out


def test_a_pools_worker_on_a_login_node_runs_ranks_in_jobs(command, prefect_server, tmp_path, store):
    command(request_of())  # writes the cluster file
    prefect = PrefectCommand(prefect_server, tmp_path / "home")
    prefect.make_pool("local")
    request = request_of(result_path="results/pool")
    prefect.deploy("run/dask", request=request, store=str(store), executor="dask")
    changes = {"cluster": str(tmp_path / "slurm.yaml")}
    prefect.run_to_completion("run/dask", "local", tmp_path / "worker.log", changes=changes)
    there = Store(str(store))
    document = there.read_json(request["bucket"], summary_key(there, request["bucket"], "results/pool"))
    assert (document["ranks_done"], document["missing_ranks"]) == (4, [])
    assert document["cluster"]["kind"] == "dask_jobqueue.SLURMCluster"

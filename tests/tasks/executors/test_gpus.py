import os
import subprocess
import sys

import pytest

from inference.contract.run_request import RunRequest
from tasks.executors import select as choose
from tasks.executors.gpus import visible_gpus
from tasks.executors.select import executor_of
from tests.conftest import ROOT
from tests.support.surveys import request_of


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A driver that knows three devices, none of them hidden."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for number in range(3):
        (tmp_path / f"0000:{number}1:00.0").mkdir()
    return tmp_path


def test_all_that_the_driver_knows_are_visible(driver):
    assert visible_gpus(driver) == ["0", "1", "2"]


def test_without_a_driver_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert visible_gpus(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("named", "visible"),
    [("2", ["2"]), ("1, GPU-ab", ["1", "GPU-ab"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), ("none", [])],
)
def test_those_that_are_named_are_visible_up_to_the_first_that_is_none(driver, monkeypatch, named, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus(driver) == visible


def claims(folder, gpus, processes, **variables):
    """The devices that so many processes claim that run at the same time."""
    program = (
        "import sys; from pathlib import Path; from tasks.executors.gpus import claim_gpu\n"
        "print(claim_gpu(sys.argv[2:], Path(sys.argv[1])), flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", program, str(folder), *gpus]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(words, cwd=ROOT, env=os.environ | variables, **pipes) for _ in range(processes)]
    try:
        return [each.stdout.readline().strip() for each in running]
    finally:
        for each in running:
            each.communicate()


def test_claim_gpu_gives_each_process_of_a_job_its_own_device(tmp_path):
    assert sorted(claims(tmp_path, ["0", "GPU-ab"], 2, SLURM_JOB_ID="7")) == ["0", "GPU-ab"]
    assert claims(tmp_path, ["0", "1"], 1, SLURM_JOB_ID="7") == ["0"], "a device is free once its process has ended"


def test_claim_gpu_shares_where_processes_are_more_than_devices(tmp_path):
    assert set(claims(tmp_path, ["0", "1"], 3)) == {"0", "1"}


class TestTheLocalExecutor:
    def workers(self, monkeypatch, gpus, workers=None, **changes):
        monkeypatch.setattr(choose, "visible_gpus", lambda: gpus)
        return executor_of("local", RunRequest.read(request_of(**changes)), "/store", workers).workers

    def test_has_one_worker_a_gpu_for_the_engine_that_computes_there(self, monkeypatch):
        assert self.workers(monkeypatch, ["0", "1", "2"], engine="torch") == 3

    def test_has_as_many_as_are_asked_for_all_the_same(self, monkeypatch):
        assert self.workers(monkeypatch, ["0"], workers=2, engine="torch") == 2
        assert self.workers(monkeypatch, ["0", "1", "2"], engine="torch", max_concurrency=2) == 2

    def test_counts_cores_for_the_engine_that_knows_no_gpu(self, monkeypatch):
        assert self.workers(monkeypatch, ["0"] * 99) == self.workers(monkeypatch, [])

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.executors.base import RUN_ENDED
from tasks.executors.local import LocalExecutor
from tests.conftest import SCRIPTED_WORKER, events_of
from tests.support.prefect_command import wait_for


def pool(workers=1, **more):
    return LocalExecutor(workers, command=SCRIPTED_WORKER, **more)


def invoke(executor, event):
    (call,) = executor.submit([event])
    return call.result()


def invoke_all(executor, events):
    return [call.result() for call in executor.submit(events)]


def test_a_rank_runs_once_and_its_result_and_cost_come_back(scripted):
    calls = scripted({})
    with pool(memory_mb=2048) as executor:
        invocation = invoke(executor, events_of(4)[2])
    assert invocation.error is None
    assert (invocation.rank, invocation.result.rank, invocation.memory_mb) == (2, 2, 2048)
    assert invocation.billed_s > 0
    assert "estimate" in invocation.billed_how
    assert len(calls()) == 1


def test_workers_stay_warm_from_rank_to_rank(scripted):
    calls = scripted({})
    with pool(workers=2) as executor:
        invocations = [invoke(executor, event) for event in events_of(6)]
    assert len({process for _, _, process in calls()}) <= 2
    assert [i.init_s > 0 for i in invocations].count(True) <= 2


def test_ranks_run_side_by_side_on_as_many_processes_as_there_are_workers(scripted):
    calls = scripted({rank: ["slow"] for rank in range(4)})
    with pool(workers=2) as executor:
        invoke_all(executor, events_of(4))
    assert len({process for _, _, process in calls()}) == 2


@pytest.mark.parametrize(
    ("word", "said"),
    [("die", "SIGKILL"), ("exit", "exit code 3"), ("garbage", "reply is not JSON"), ("text", "not a JSON object")],
)
def test_a_dead_worker_fails_its_rank_says_how_and_is_replaced(scripted, word, said):
    calls = scripted({0: [word]})
    with pool() as executor:
        first = invoke(executor, events_of(2)[0])
        again = invoke(executor, events_of(2)[0])
    assert said in first.error
    assert first.retryable
    assert again.error is None
    assert len({process for _, _, process in calls()}) == 2


def test_a_worker_that_died_between_two_ranks_says_how_and_leaves_nothing(scripted):
    scripted({})
    with pool() as executor:
        first, again, last = events_of(3)
        invoke(executor, first)
        worker = next(iter(executor._alive))
        worker._process.kill()
        worker._process.wait()
        assert "SIGKILL" in invoke(executor, again).error
        assert not worker._folder.exists()
        assert invoke(executor, last).error is None


def test_the_other_ranks_go_on_when_a_worker_dies(scripted):
    scripted({1: ["die"]})
    with pool(workers=2) as executor:
        invocations = invoke_all(executor, events_of(6))
    assert [i.rank for i in invocations if i.error] == [1]


def test_a_rank_that_outlasts_its_limit_is_stopped_and_the_limit_named(scripted):
    scripted({0: ["hang"]})
    with pool(timeout_s=2) as executor:
        invocation = invoke(executor, events_of(1)[0])
    assert "longer than 2 s (rank_timeout)" in invocation.error
    assert invocation.duration_s >= 0


def test_a_failure_of_the_store_may_be_retried_and_a_bad_partition_may_not(scripted):
    scripted({0: ["fail"], 1: ["bad input"]})
    with pool() as executor:
        store, partition = (invoke(executor, event) for event in events_of(2))
    assert (store.error, store.retryable) == ("the store is away", True)
    assert (partition.error, partition.retryable) == ("1.pt is truncated", False)


@pytest.mark.parametrize("word", ["other rank", "no result"])
def test_an_answer_for_another_rank_or_without_a_result_is_a_failure(scripted, word):
    scripted({0: [word]})
    with pool() as executor:
        invocation = invoke(executor, events_of(2)[0])
    assert invocation.result is None
    assert "rank" in invocation.error


def test_leaving_the_pool_leaves_no_process_and_no_scratch_folder(scripted, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    calls = scripted({1: ["hang"]})
    with pool(workers=2) as executor:
        invoke(executor, events_of(2)[0])
        (hanging,) = executor.submit(events_of(2)[1:])
        while len(calls()) < 2:
            time.sleep(0.05)
    assert hanging.result().error == RUN_ENDED
    assert not list(scratch.iterdir())
    for _, _, process in calls():
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


KILLED = """
import time
from tasks.executors.local import LocalExecutor
from tests.tasks.executors.test_local import events_of, invoke
with LocalExecutor(1) as executor:
    invoke(executor, events_of(1)[0])
    print("answered", flush=True)
    time.sleep(600)
"""


def test_workers_of_a_killed_process_remove_its_scratch_folder(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout.readline() == b"answered\n"
        assert list(tmp_path.glob("cosmic-*/worker-*"))
        process.kill()
    wait_for(lambda: not list(tmp_path.glob("cosmic-*")), within_s=60, every_s=0.05)


def test_threads_are_divided_among_the_workers():
    cores = len(os.sched_getaffinity(0))
    assert LocalExecutor(cores)._cores_each == 1
    assert LocalExecutor(1)._cores_each == cores
    assert LocalExecutor()._cores_each * LocalExecutor().concurrency <= cores


def test_each_worker_sees_a_gpu_of_its_own(scripted):
    scripted({rank: ["slow"] for rank in range(4)})
    with pool(workers=2, gpus=["0", "GPU-abc"]) as executor:
        seen = {invocation.result.worker for invocation in invoke_all(executor, events_of(4))}
    assert seen == {"0", "GPU-abc"}


def test_a_worker_in_a_dead_ones_place_takes_its_gpu(scripted):
    scripted({0: ["die"], 1: ["slow", "slow"]})
    with pool(workers=2, gpus=["0", "1"]) as executor:
        invoke_all(executor, events_of(2))
        again = invoke_all(executor, events_of(2))
    assert {invocation.result.worker for invocation in again} == {"0", "1"}


def test_no_workers_runs_ranks_in_this_process(tmp_path):
    with LocalExecutor(0) as executor:
        invocation = invoke(executor, events_of(1)[0])
    assert invocation.worker == "this process"
    assert invocation.error  # there is no such model: said, not raised
    assert executor.concurrency == 1

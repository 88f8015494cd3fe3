"""Ranks on a real Dask cluster: workers that die, hang, come and go, and clusters that are not there."""

import json
import re
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.executors.base import NothingRan
from tasks.executors.cluster_file import Cluster
from tasks.executors.dask_connection import Connection
from tasks.executors.dask_executor import DaskExecutor
from tasks.executors.dask_tasks import describe_worker
from tests.conftest import ROOT, events_of
from tests.support.prefect_command import wait_for
from tests.support.scripted_worker import run_rank
from tests.support.surveys import request_of
from tests.tasks.executors.test_every_executor import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Where the workers of this module find what their ranks answer."""
    return tmp_path_factory.mktemp("script") / "script.json"


@pytest.fixture(scope="module")
def scheduler(script):
    """Address of a scheduler with two worker processes."""
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSMIC_SCRIPT", str(script))
        patch.setenv("PYTHONPATH", str(ROOT))
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
            yield cluster.scheduler_address


@pytest.fixture
def answers(script, monkeypatch):
    """Write what ranks answer; a function that lists their calls: (rank, attempt, process)."""
    monkeypatch.setattr("tasks.executors.dask_executor.run_rank", run_rank)

    def write(words):
        script.write_text(json.dumps({str(rank): each for rank, each in words.items()}))
        script.with_suffix(".log").unlink(missing_ok=True)
        return lambda: [tuple(map(int, line.split())) for line in script.with_suffix(".log").read_text().splitlines()]

    return write


@pytest.fixture
def executor_at(tmp_path):
    """Make an executor whose store holds a plan."""

    def make(cluster, **changes):
        request = RunRequest.read(request_of(**changes))
        root = str(tmp_path / "store")
        (tmp_path / "store" / request.bucket).mkdir(parents=True, exist_ok=True)
        Store(root).write(request.bucket, f"{request.result_path}/payload.json", b"{}")
        return DaskExecutor(Cluster.read(cluster), 2, request, root)

    return make


def test_a_killed_worker_fails_its_rank_by_name_and_is_replaced(scheduler, answers, executor_at):
    calls = answers({1: ["die"]})
    executor = executor_at(scheduler)
    executor.check()
    ledger = run(executor, events_of(4))
    assert ledger.done == {0, 2, 3}
    assert "was lost" in ledger.last_error(1) or "died" in ledger.last_error(1)
    again = executor_at(scheduler)
    again.check()
    assert run(again, events_of(4)[1:2]).done == {1}
    assert sorted(rank for rank, _, _ in calls()) == [0, 1, 1, 2, 3]


def test_a_rank_that_outlasts_its_limit_is_stopped_and_its_worker_replaced(scheduler, answers, executor_at):
    answers({0: ["hang"]})
    executor = executor_at(scheduler, rank_timeout=2)
    executor.check()
    ledger = run(executor, events_of(3))
    assert ledger.done == {1, 2}
    assert ledger.last_error(0) == "the rank took longer than 2 s (rank_timeout)"


def test_a_look_at_a_worker_loads_the_handler_before_its_first_rank(scheduler, tmp_path):
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        where, addresses = (str(tmp_path), "cosmicai-test", "none"), list(client.scheduler_info()["workers"])
        client.gather([client.submit(describe_worker, *where, workers=[each], pure=False) for each in addresses])
        loaded = client.run(lambda: "inference.handler" in sys.modules)
    assert list(loaded.values()) == [True] * len(addresses)


def test_a_reply_comes_as_an_event_and_also_to_a_flow_that_missed_it(scheduler):
    from distributed import Client

    with Connection(Cluster.read(scheduler)) as connection:
        address = next(iter(connection.workers()))

        def reply(text):
            (future,) = connection.send(json.loads, [([text], address)], "test")
            future.result(timeout=60)
            return future

        first, second = reply("[1, 2]"), reply('"\\ud800"')
        assert set(connection._values) == {first.key, second.key}
        assert [connection.value(first), connection.value(second)] == [[1, 2], "\ud800"]
        connection._client.unsubscribe_topic(connection._topic)  # as a scheduler that was away has forgotten
        assert connection.value(reply("[3]")) == [3]
        fourth = reply("[4]")
        assert fourth.key in connection._values, "heard again"
    with Client(scheduler, set_as_default=False) as client:
        assert client.get_events(connection._topic) == ()


def test_ranks_in_flight_are_limited_to_one_a_worker_process(scheduler, answers, executor_at):
    calls = answers({rank: ["slow"] for rank in range(4)})
    with executor_at(scheduler, max_concurrency=1) as executor:
        assert executor.concurrency == 1
        ended = [call.result(timeout=60) for call in executor.submit(events_of(4))]
    spans = sorted((each.started_at, each.ended_at) for each in ended)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert len(calls()) == 4


def test_the_facts_of_a_run_say_what_was_allocated_and_used(scheduler, answers, executor_at):
    answers({})
    executor = executor_at({"scheduler": scheduler, "usd_per_core_hour": 3.6})
    executor.check()
    run(executor, events_of(2))
    cluster = executor.facts()["cluster"]
    assert 1 <= cluster["workers"] <= 2, "one may be starting again after the test before"
    assert cluster["nodes"] == 1
    assert 0 < cluster["core_seconds_used"] < cluster["core_seconds_allocated"]
    assert cluster["idle_share"] == pytest.approx(1 - cluster["core_seconds_used"] / cluster["core_seconds_allocated"])
    assert cluster["usd"] == pytest.approx(cluster["core_seconds_allocated"] * 0.001, rel=0.2)


def test_workers_that_see_another_store_take_no_ranks(scheduler, answers, executor_at):
    answers({})
    executor = executor_at(scheduler)
    executor.check()
    place, aside = Path(executor._store_root), Path(f"{executor._store_root}-aside")
    started = executor._look_at_workers

    def look():  # when the workers look, the store is not where it was
        if place.exists():
            place.rename(aside)
        started()

    executor._look_at_workers = look
    with pytest.raises(BadInput, match=r"worker tcp://.* does not see .*payload\.json in .*shared file system"):
        executor.start()
    executor.stop()


def test_a_refused_worker_ends_no_run_before_the_others_answer(scheduler, answers, executor_at):
    answers({})
    executor = executor_at(scheduler)
    wait_for(lambda: executor.check() or executor._able == 2)  # both are up again after the tests before
    take_look, looks = executor._take_look, []

    def first_is_refused(worker, found, error):
        looks.append(worker)
        take_look(worker, found if len(looks) > 1 else None, error or "it is of another cluster")

    executor._take_look = first_is_refused
    assert run(executor, events_of(2)).done == {0, 1}


@pytest.mark.parametrize(
    "cluster_class", ["distributed.LocalCluster", "tests.support.own_clusters.GrowsWithoutAPolicy"]
)
def test_an_adaptive_cluster_grows_for_its_ranks_and_loses_none(
    cluster_class, answers, executor_at, monkeypatch, script
):
    monkeypatch.setenv("COSMIC_SCRIPT", str(script))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    answers({})
    cluster = {
        "cluster_class": cluster_class,
        "cluster_kwargs": {"n_workers": 0, "threads_per_worker": 1, "dashboard_address": ":0"},
        "adapt_kwargs": {"minimum": 0, "maximum": 2},
    }
    executor = executor_at(cluster)
    executor.check()
    assert executor.concurrency == 2
    ledger = run(executor, events_of(12))
    assert ledger.done == set(range(12))
    assert executor.facts()["cluster"]["workers"] <= 2


def test_a_rank_cut_off_by_the_end_of_its_job_loses_no_attempt(scheduler, answers, executor_at):
    answers({0: ["die"]})
    executor = executor_at(scheduler)
    with executor:
        wait_for(lambda: len(executor._workers.able()) == 2)
        for worker in executor._workers.known.values():
            worker.ends_at = time.time() + 20  # as a job's wall time would have it
        (call,) = executor.submit(events_of(2)[:1])
        ended = call.result(timeout=60)
    assert ended.error is None and ended.attempt == 1
    cut_off, last = sorted(executor.settle([ended]), key=lambda each: each.error is None)
    assert cut_off.error.startswith("its worker's job ended, and it ran again")
    assert last is ended


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:9", "Timed out"),
        ("tls://127.0.0.1:9", r"TLS expects .*; keys of TLS are Dask's own settings, distributed\.comm\.tls"),
        ("ucx://127.0.0.1:9", ""),
        ("tcp://[::1]:9", ""),
    ],
)
def test_nobody_at_the_address_is_one_sentence_before_anything_starts(executor_at, monkeypatch, address, reason):
    monkeypatch.setattr("tasks.executors.dask_connection._CONNECT_S", 0.5)
    with pytest.raises(BadInput, match=rf"no Dask scheduler answers at '{re.escape(address)}' \(.*{reason}") as refused:
        executor_at(address).check()
    assert "\n" not in str(refused.value)


def test_ranks_without_a_worker_are_given_up_after_the_time_allowed(executor_at):
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=":0") as empty:
        executor = executor_at({"scheduler": empty.scheduler_address, "wait_for_workers": 1})
        executor.check()
        executor._answered.set()  # no need to wait for a first worker here
        with executor:
            (call,) = executor.submit(events_of(1))
            with pytest.raises(NothingRan, match=r"no worker of the cluster took a rank within 1 s"):
                call.result(timeout=60)

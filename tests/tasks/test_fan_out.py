import time

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run
from prefect.utilities.collections import visit_collection

from inference.contract.rank_event import RankEvent
from tasks.dispatch.dispatcher import Dispatcher
from tasks.dispatch.rank_group import RankGroup
from tasks.executors.local import LocalExecutor
from tasks.fan_out import _note_end, fan_out
from tasks.invocations.ledger import Ledger
from tests.conftest import SCRIPTED_WORKER, events_of


@flow(name="fan-out under test")
def fan_out_flow(size, workers, each):
    ledger, _ = fan_out(events_of(size), LocalExecutor(workers, command=SCRIPTED_WORKER), each)
    return ledger, flow_run.id


def task_runs(flow_id, count):
    """{name: final state} of a flow's task runs, once the server has recorded all of them."""
    return {name: state.name for name, state in final_states(flow_id, count).items()}


def final_states(flow_id, count):
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_id]))
    with get_client(sync_client=True) as client:
        for _ in range(300):
            runs = client.read_task_runs(flow_run_filter=mine, limit=200)
            if len(runs) == count and all(run.state is not None and run.state.is_final() for run in runs):
                break
            time.sleep(0.1)
    return {run.name: run.state for run in runs}


def group_of(events, ledger=None):
    return RankGroup(events, Dispatcher(LocalExecutor(1), ledger or Ledger(), events))


def test_a_group_is_labelled_by_its_ranks():
    assert group_of(events_of(41)[7:8]).label == "rank 007 of 041"
    assert group_of(events_of(1200)[0:40]).label == "ranks 0000-0039 of 1200"


def test_ranks_whose_task_run_did_not_start_get_its_error():
    ledger = Ledger()
    _note_end(group_of(events_of(3), ledger), RuntimeError("no room for a thread"))
    assert "no room for a thread" in ledger.last_error(2)
    assert "rank 1: its task run did not start" in ledger.failures()


def test_prefect_does_not_walk_through_a_group_that_threads_change():
    seen = []
    visit_collection({"label": "x", "group": group_of(events_of(3))}, visit_fn=seen.append, return_data=False)
    assert not any(isinstance(item, set | list | RankEvent) for item in seen)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
class TestFanOut:
    def test_each_rank_is_a_task_run_of_its_own_name_that_runs_once(self, scripted):
        calls = scripted({})
        ledger, flow_id = fan_out_flow(5, 2, 1)
        assert ledger.done == set(range(5))
        assert sorted(rank for rank, _, _ in calls()) == [0, 1, 2, 3, 4]
        assert task_runs(flow_id, 5) == {f"rank 00{n} of 005": "Completed" for n in range(5)}

    def test_a_rank_whose_worker_dies_is_retried_and_the_others_run_once(self, scripted):
        calls = scripted({2: ["die"]})
        ledger, _ = fan_out_flow(4, 2, 1)
        assert ledger.done == {0, 1, 2, 3}
        assert sorted((rank, attempt) for rank, attempt, _ in calls()) == [
            (0, 1),
            (1, 1),
            (2, 1),
            (2, 2),
            (3, 1),
        ]
        assert len(ledger.invocations) == 5, "the failed attempt is on the bill"

    def test_a_rank_that_keeps_failing_is_given_up_after_three_attempts(self, scripted):
        calls = scripted({1: ["fail"] * 9})
        ledger, flow_id = fan_out_flow(3, 2, 1)
        assert ledger.done == {0, 2}
        assert [attempt for rank, attempt, _ in calls() if rank == 1] == [1, 2, 3]
        assert ledger.last_error(1) == "the store is away"
        assert ledger.last_error(0) is None
        state = final_states(flow_id, 3)["rank 001 of 003"]
        assert (state.name, state.message) == ("Failed", "rank 1: the store is away"), "the cause comes first"

    def test_a_bad_partition_is_not_tried_again(self, scripted):
        calls = scripted({1: ["bad input"] * 9})
        ledger, _ = fan_out_flow(2, 2, 1)
        assert [rank for rank, _, _ in calls()].count(1) == 1
        assert ledger.last_error(1) == "1.pt is truncated"

    def test_a_retried_group_skips_the_ranks_that_are_done(self, scripted):
        calls = scripted({4: ["die"]})
        ledger, flow_id = fan_out_flow(6, 2, 3)
        assert ledger.done == set(range(6))
        assert sorted(rank for rank, _, _ in calls()) == [0, 1, 2, 3, 4, 4, 5]
        assert task_runs(flow_id, 2) == {
            "ranks 000-002 of 006": "Completed",
            "ranks 003-005 of 006": "Completed",
        }

    def test_one_worker_runs_the_ranks_in_order(self, scripted):
        calls = scripted({})
        ledger, _ = fan_out_flow(3, 1, 1)
        assert [rank for rank, _, _ in calls()] == [0, 1, 2]
        assert ledger.done == {0, 1, 2}

"""A limit that somebody has set on the Prefect server holds for ranks, whoever runs them."""

import threading
import time
from itertools import pairwise

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from flows.run import run
from inference.errors import BadInput
from tasks.dispatch.dispatcher import Limits
from tasks.executors.local import LocalExecutor
from tasks.fan_out import fan_out
from tasks.prefect_support import rank_slots as module
from tasks.prefect_support.rank_slots import LIMIT, RankSlots, rank_slots
from tests.conftest import SCRIPTED_WORKER, events_of
from tests.support.prefect_command import wait_for
from tests.support.surveys import request_of, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


@pytest.fixture
def client(prefect_api):
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def limit(client):
    """Set the limit, as `prefect gcl create` does."""

    def create(number, *, active=True):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=number, active=active))
        return lambda: client.read_global_concurrency_limit_by_name(LIMIT).active_slots

    yield create
    client.delete_global_concurrency_limit_by_name(LIMIT)


@flow(name="ranks under a limit")
def ranks(size, gang=False):
    limits = Limits(gang=gang)
    return fan_out(events_of(size), LocalExecutor(2, command=SCRIPTED_WORKER), 1, limits)[0]


def test_a_run_that_wants_no_slot_waits_for_none(limit, monkeypatch):
    said = []
    limit(1)
    with RankSlots(1) as slots:
        wait_for(lambda: slots.held == 1)
        monkeypatch.setattr(module, "_PATIENCE_S", 0.0)
        monkeypatch.setattr(module, "announce", said.append)
        slots.want(0)
        wait_for(lambda: slots.held == 0)
    assert said == []


def test_a_limit_of_one_slot_has_ranks_run_one_after_the_other(limit, scripted):
    scripted({})
    taken = limit(1)
    ledger = ranks(4)
    assert ledger.done == set(range(4))
    spans = sorted((call.started_at, call.ended_at) for call in ledger.invocations)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert taken() == 0, "all slots are given back"


def test_ranks_wait_for_a_slot_that_another_run_holds(limit, scripted, monkeypatch):
    scripted({})
    said = []
    taken = limit(1)
    with RankSlots(1) as other:
        wait_for(lambda: other.held == 1)
        monkeypatch.setattr(module, "_PATIENCE_S", 0.2)
        monkeypatch.setattr(module, "announce", said.append)
        released_at = []

        def release_once_it_is_said():  # in place of a time, which a busy machine may need
            wait_for(lambda: said)
            released_at.append(time.time())
            other.want(0)

        threading.Thread(target=release_once_it_is_said, daemon=True).start()
        ledger = ranks(2)
    assert ledger.done == {0, 1}
    assert min(call.started_at for call in ledger.invocations) >= released_at[0]
    assert said == [f"Waiting for a slot of the Prefect server's limit {LIMIT} (1 slot, all taken)"]
    assert taken() == 0


def test_slots_are_taken_and_given_back_as_they_are_wanted(limit):
    taken = limit(5)
    with rank_slots() as slots:
        slots.want(9)
        wait_for(lambda: slots.held == 5 == taken())
        slots.want(2)
        wait_for(lambda: slots.held == 2 == taken())
    assert taken() == 0


def test_a_limit_that_is_not_active_limits_nothing(limit):
    limit(1, active=False)
    assert rank_slots() is None


def test_a_gang_above_the_limit_is_refused_before_anything_is_written(limit, store):
    limit(3)
    script = {"script": "/tmp/one/run.py", "S3_object_name": "one", "model": None, "messages": "tcp"}
    (store / "cosmicai-test" / "one").mkdir()
    (store / "cosmicai-test" / "one" / "run.py").write_text("print(1)")
    before = snapshot(store)
    with pytest.raises(BadInput, match=rf"all 4 ranks must run at once, and the Prefect server's limit {LIMIT} is 3"):
        run(request_of(**script, file_limit=4), str(store), workers=4)
    assert snapshot(store) == before


def test_a_gang_above_the_limit_is_refused(limit):
    limit(1)
    with pytest.raises(BadInput, match=rf"all 2 ranks must run at once, and the Prefect server's limit {LIMIT} is 1"):
        ranks(2, gang=True)

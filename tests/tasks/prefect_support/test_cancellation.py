import time
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Cancelling

from tasks.prefect_support import cancellation
from tasks.prefect_support.cancellation import Cancellation

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]


@flow(name="cancelled in the middle")
def cancelled_in_the_middle():
    """What a watch over this flow run tells before and after somebody cancels it."""
    with Cancellation(flow_run.id) as watch:
        before = watch()
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelling(), force=True)
        for _ in range(600):
            if watch() is not None:
                break
            time.sleep(0.05)
        return before, watch()


def test_a_cancelled_flow_run_is_noticed_through_the_server_of_the_flow(monkeypatch):
    # The server is known to the context of the flow's thread only, as in a command that started a temporary one.
    monkeypatch.setattr(cancellation, "_EVERY_S", 0.1)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert cancelled_in_the_middle() == (None, "the flow run was cancelled")


def test_a_server_that_knows_of_no_such_run_cancels_nothing(monkeypatch):
    monkeypatch.setattr(cancellation, "_EVERY_S", 0.05)
    with Cancellation(uuid4()) as watch:
        time.sleep(0.3)
        assert watch() is None

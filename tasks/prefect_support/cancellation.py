"""Has somebody cancelled the flow run? Asked of the Prefect server now and then, beside the run."""

import threading
from contextvars import copy_context
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled

_EVERY_S = 1.5


class Cancellation:
    """Watches a flow run while the block runs; calling it tells why the run is to stop, as a clause, or None.

    A worker that runs a deployment ends the process of a cancelled flow run itself; `cosmic run` has no worker.
    """

    def __init__(self, flow_run_id: UUID) -> None:
        self._id = flow_run_id
        self._left = threading.Event()
        self._cancelled = False

    def __call__(self) -> str | None:
        """Why the run is to stop, as a clause."""
        return "the flow run was cancelled" if self._cancelled else None

    def __enter__(self) -> Self:
        # In this thread's context: there it stands which server is asked.
        watch = copy_context().run
        threading.Thread(target=watch, args=(self._watch,), name="cosmic-cancellation", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()

    def _watch(self) -> None:
        while not self._left.wait(_EVERY_S):
            try:
                with get_client(sync_client=True) as client:
                    state = client.read_flow_run(self._id).state
            except Exception:  # noqa: BLE001, S112 - a server that does not answer has not cancelled anything
                continue
            self._cancelled = state is not None and (state.is_cancelling() or state.is_cancelled())


def confirm(flow: object, flow_run: FlowRun, state: object) -> None:
    """Tell the server that a cancelled flow run has ended; a hook of the flow: without a worker nobody else does."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Cancelled(message="what was done is kept"), force=True)

"""The server's limit on ranks of all runs together: `prefect gcl create cosmic-ranks --limit 200`."""

import threading
import time
from contextvars import copy_context
from typing import Any, Self
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.types._concurrency import ConcurrencyLeaseHolder

from tasks.reporting.formatting import counted
from tasks.reporting.terminal import announce

LIMIT = "cosmic-ranks"
_LEASE_S = 60.0  # a slot whose run was killed is free again after so long
_EVERY_S = 0.5
_PATIENCE_S = 3.0  # before it is said that the run waits


class RankSlots:
    """Slots of the limit that this flow run holds; entered and left with the fan-out.

    Each slot is a lease of its own, renewed by a thread, so that slots are given back one by one.

    Args:
        limit: as the server has it, for the message.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._leases: dict[UUID, float] = {}  # and when each was last renewed
        self._wanted = 1
        self._changed, self._left = threading.Event(), False
        run = flow_run.id
        self._holder = None if run is None else ConcurrencyLeaseHolder(type="flow_run", id=UUID(str(run)))

    @property
    def held(self) -> int:
        """How many slots the run holds now."""
        return len(self._leases)

    def want(self, number: int) -> None:
        """Say how many slots the run could use now."""
        if number != self._wanted:
            self._wanted = number
            self._changed.set()

    def __enter__(self) -> Self:
        # In this thread's context: there it stands which server is asked.
        target = copy_context().run
        self._thread = threading.Thread(target=target, args=(self._serve,), name="cosmic-slots", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._changed.set()
        self._thread.join(30.0)

    def _serve(self) -> None:
        began, said = time.monotonic(), False
        with get_client(sync_client=True) as client:
            while not self._left:
                self._renew(client)
                while not self._left and len(self._leases) < self._wanted and self._take(client):
                    pass
                while len(self._leases) > self._wanted:
                    self._give_back(client)
                waits = self._wanted and not self._leases
                if waits and not said and time.monotonic() - began > _PATIENCE_S:
                    said = True
                    slots = counted(self.limit, "slot")
                    announce(f"Waiting for a slot of the Prefect server's limit {LIMIT} ({slots}, all taken)")
                self._changed.wait(_EVERY_S)
                self._changed.clear()
            while self._leases:
                self._give_back(client)

    def _take(self, client: Any) -> bool:
        try:
            answer = client.increment_concurrency_slots_with_lease(
                [LIMIT], 1, mode="concurrency", lease_duration=_LEASE_S, holder=self._holder
            )
            self._leases[UUID(answer.json()["lease_id"])] = time.monotonic()
        except Exception:  # noqa: BLE001 - all are taken, or the server is busy: asked again soon
            return False
        return True

    def _give_back(self, client: Any) -> None:
        lease, _ = self._leases.popitem()
        try:
            client.release_concurrency_slots_with_lease(lease)
        except Exception:  # noqa: BLE001 - the lease runs out by itself
            return

    def _renew(self, client: Any) -> None:
        for lease, renewed_at in list(self._leases.items()):
            if time.monotonic() - renewed_at > _LEASE_S / 3:
                try:
                    client.renew_concurrency_lease(lease, _LEASE_S)
                    self._leases[lease] = time.monotonic()
                except Exception:  # noqa: BLE001 - tried again at the next turn; what has run out is not held
                    if time.monotonic() - renewed_at > _LEASE_S:
                        del self._leases[lease]


def rank_slots() -> RankSlots | None:
    """Slots of the server's limit, if somebody has set it and it is active."""
    try:
        with get_client(sync_client=True) as client:
            limit = client.read_global_concurrency_limit_by_name(LIMIT)
    except Exception:  # noqa: BLE001 - there is none, or the server does not say
        return None
    return RankSlots(limit.limit) if limit.active else None

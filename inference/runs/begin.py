"""The start of a run: plan it, put away what does not count any more, write down what is to be done."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from inference.contract.messages import Messages
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.errors import BadInput
from inference.rank_results.gather import clear, gather, result_keys
from inference.rank_results.publish_summary import (
    BILLED,
    generation_folder,
    journal_prefix,
    root_lease,
    run_lease,
    withdraw,
)
from inference.runs.plan import Model, Plan, check_complete, make_plan, payload, read_payload
from inference.storage.lease import HeldLease, Lease
from inference.storage.store import Store, StoredObject


@dataclass(frozen=True)
class Start:
    """How a run starts.

    Attributes:
        plan: what is to be done.
        resumed: ranks of the plan that were done before this run began.
        folder: key of the folder in which this run writes its summaries.
    """

    plan: Plan
    resumed: tuple[int, ...]
    folder: str

    @property
    def todo(self) -> list[RankEvent]:
        """The ranks that are yet to be done."""
        done = frozenset(self.resumed)
        return [event for event in self.plan.events if event.rank not in done]


def start_run(
    store: Store,
    request: RunRequest,
    workload: Model | Script,
    held: HeldLease,
    *,
    fresh: bool = False,
    listing: Sequence[StoredObject] | None = None,
) -> Start:
    """Plan a run against what lies under its result path, clear away results of another plan, write payload.json.

    Summaries are withdrawn first, so that none ever stands for results that are gone. A script reads its plan at the
    bucket's root (contract, "Rank event"): a copy of payload.json goes there.

    Args:
        store: the object store.
        request: the checked request.
        workload: the staged model or script.
        held: the lease on the result path (`run_leases`), in the name of the run.
        fresh: clear away every result, and the bill of earlier runs; but not what this very run did before it was
            retried.
        listing: every object under the request's data prefix, where it has been listed already.

    Raises:
        BadInput: there is no partition.
        LeaseHeldError: another run took the result path over.
        StoreError: the store cannot be listed or written.
    """
    run_id = held.lease.holder
    check_complete(store, request.data_bucket, request.data_prefix)
    if listing is None:
        listing = store.list(request.data_bucket, request.data_prefix)
    plan = make_plan(request, listing, workload, store.root)
    if request.messages is not None:
        messages = Messages(through=request.messages, gang=uuid.uuid4().hex, timeout_s=request.message_timeout)
        plan = replace(plan, events=tuple(replace(event, messages=messages) for event in plan.events))
    fresh = fresh and _run_that_began(store, request) != run_id
    folder = request.result_path
    done: tuple[int, ...] = ()
    if fresh:  # what goes need not be read
        stale = set(result_keys(store, request.bucket, folder))
    else:
        found = gather(store, plan.events)
        stale = set(found.stale)
        # Ranks that send messages to one another run all together, or not at all.
        if request.messages is not None and len(found.results) < plan.world_size:
            stale |= {f"{folder}/{result.rank}.json" for result in found.results}
        else:
            done = tuple(result.rank for result in found.results)
    held.check()
    if len(done) < plan.world_size or stale:
        withdraw(held, folder)
        clear(store, request.bucket, folder, stale)
    if fresh:
        journal = [stored.key for stored in store.list(request.bucket, journal_prefix(folder))]
        store.delete(request.bucket, [*(f"{folder}/{name}" for name in BILLED), *journal])
    document = json.dumps(payload(request, plan, run_id), indent=1).encode()
    store.write(request.bucket, f"{folder}/payload.json", document)
    if isinstance(workload, Script):
        store.write(request.bucket, "payload.json", document)
    return Start(plan, done, generation_folder(folder, held.generation))


def _run_that_began(store: Store, request: RunRequest) -> str | None:
    try:
        return str(read_payload(store, request.bucket, request.result_path).get("run_id"))
    except BadInput:
        return None


def leases_of(store: Store, request: RunRequest, run_id: str) -> list[Lease]:
    """The leases that a run holds: on its result path, and for a script on the bucket's root too."""
    leases = [run_lease(store, request.bucket, request.result_path, run_id)]
    if request.script is not None:
        leases.append(root_lease(store, request.bucket, run_id))
    return leases


@contextmanager
def run_leases(store: Store, request: RunRequest, run_id: str) -> Iterator[list[HeldLease]]:
    """Hold the run's leases while it lives; the one on the result path is the first.

    Raises:
        LeaseHeldError: another run holds one of them; nothing was written.
        StoreError: the store refuses.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(lease.keep()) for lease in leases_of(store, request, run_id)]

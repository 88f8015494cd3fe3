"""The start of a run: plan it, put away what does not count any more, write down what is to be done."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.errors import BadInput
from inference.rank_results.gather import clear, gather
from inference.runs.plan import Model, Plan, make_plan, payload, read_payload
from inference.storage.lease import Kept, Lease
from inference.storage.store import Store

INVOCATIONS = "invocations.json"  # this and the next are what the bill is made from
EXECUTIONS = "executions.json"
LEASES = ".cosmic/leases"
SUMMARIES = (
    "combined_data.json",
    "combined_data.partial.json",
    "predictions.parquet",
    "predictions.partial.parquet",
    "summary.json",
    "report.html",
)


@dataclass(frozen=True)
class Start:
    """A plan, and which of its ranks were done before this run began."""

    plan: Plan
    resumed: tuple[int, ...]


def start_run(store: Store, request: RunRequest, what: Model | Script, run_id: str, *, fresh: bool = False) -> Start:
    """Plan a run against what lies under its result path, clear away results of another plan, write payload.json.

    Whoever calls holds the run's leases (`hold`). Summaries go first, so that none ever stands for results that
    are gone. A script reads its plan at the bucket's root (contract, "Rank event"): a copy of payload.json goes there.

    Args:
        store: the object store.
        request: the checked request.
        what: the staged model or script.
        run_id: who begins.
        fresh: clear away every result, and the bill of earlier runs; but not what this very run did before it was
            retried.

    Raises:
        BadInput: there is no partition.
        StoreError: the store cannot be listed or written.
    """
    plan = make_plan(request, store.list(request.data_bucket, request.data_prefix), what, store.root)
    fresh = fresh and _run_that_began(store, request) != run_id
    found = gather(store, plan.events)
    folder = request.result_path
    done = () if fresh else tuple(result.rank for result in found.results)
    stale = set(found.stale)
    if fresh:
        stale |= {f"{folder}/{result.rank}.json" for result in found.results}
    if len(done) < plan.world_size or stale:
        store.delete(request.bucket, [f"{folder}/{name}" for name in SUMMARIES])
        clear(store, request.bucket, folder, stale)
    if fresh:
        store.delete(request.bucket, [f"{folder}/{name}" for name in (INVOCATIONS, EXECUTIONS)])
    document = json.dumps(payload(request, plan, run_id), indent=1).encode()
    store.write(request.bucket, f"{folder}/payload.json", document)
    if isinstance(what, Script):
        store.write(request.bucket, "payload.json", document)
    return Start(plan, done)


def _run_that_began(store: Store, request: RunRequest) -> str | None:
    try:
        return str(read_payload(store, request.bucket, request.result_path).get("run_id"))
    except BadInput:
        return None


@contextmanager
def hold(store: Store, request: RunRequest, run_id: str) -> Iterator[list[Kept]]:
    """Hold the run's result path while it lives, and for a script the bucket's root.

    Raises:
        Held: another run holds one of them; nothing was written.
        StoreError: the store refuses.
    """
    what = f"{request.bucket}/{request.result_path}"
    leases = [Lease(store, request.bucket, f"{LEASES}/{request.result_path}", run_id, what)]
    if request.script is not None:
        leases.append(root_lease(store, request, run_id))
    with ExitStack() as stack:
        yield [stack.enter_context(lease.keep()) for lease in leases]


def partitions_lease(store: Store, request: RunRequest, run_id: str) -> Lease:
    """The lease on the request's partitions, for the time in which they are made."""
    what = f"the making of partitions in {request.data_bucket}/{request.data_prefix}"
    return Lease(store, request.data_bucket, f"{LEASES}/{request.data_prefix}", run_id, what)


def root_lease(store: Store, request: RunRequest, run_id: str) -> Lease:
    """The lease on the bucket's root, where payload.json has one fixed key."""
    return Lease(store, request.bucket, ".cosmic/root", run_id, f"payload.json at the root of bucket {request.bucket}")

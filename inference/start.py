"""The start of a run: plan it, put away what does not count any more, write down what is to be done."""

import json
from dataclasses import dataclass

from inference.combine import clear, gather
from inference.events import Script
from inference.lease import Lease
from inference.plan import Model, Plan, make_plan, payload
from inference.request import RunRequest
from inference.store import Store

INVOCATIONS = "invocations.json"  # this and the next are what the bill is made from
EXECUTIONS = "executions.json"
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


def begin(store: Store, request: RunRequest, what: Model | Script, run_id: str, *, fresh: bool = False) -> Start:
    """Plan a run against what lies under its result path, clear away results of another plan, write payload.json.

    A script reads its plan from payload.json at the bucket's root (contract, "Rank event"): a copy goes there, under a
    lease on the bucket (`root_lease`).

    Args:
        store: the object store.
        request: the checked request.
        what: the staged model or script.
        run_id: who begins; the lease's holder.
        fresh: clear away every result, and the bill of earlier runs.

    Raises:
        BadInput: there is no partition.
        StoreError: the store cannot be listed or written, or another run holds the bucket's root.
    """
    if isinstance(what, Script):
        root_lease(store, request, run_id).take()
    plan = make_plan(request, store.list(request.data_bucket, request.data_prefix), what, store.root)
    found = gather(store, plan.events)
    folder = request.result_path
    done = () if fresh else tuple(result.rank for result in found.results)
    stale = set(found.stale)
    if fresh:
        stale |= {f"{folder}/{result.rank}.json" for result in found.results}
        store.delete(request.bucket, [f"{folder}/{name}" for name in (INVOCATIONS, EXECUTIONS)])
    if len(done) < plan.world_size or stale:
        clear(store, request.bucket, folder, stale)
        store.delete(request.bucket, [f"{folder}/{name}" for name in SUMMARIES])
    document = json.dumps(payload(request, plan, run_id), indent=1).encode()
    store.write(request.bucket, f"{folder}/payload.json", document)
    if isinstance(what, Script):
        store.write(request.bucket, "payload.json", document)
    return Start(plan, done)


def root_lease(store: Store, request: RunRequest, run_id: str) -> Lease:
    """The lease on the bucket's root, where payload.json has one fixed key."""
    return Lease(store, request.bucket, ".cosmic/root-lease.json", run_id)

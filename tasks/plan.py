"""plan_ranks: which rank reads what, as a step."""

from collections.abc import Sequence

from inference.contract.counted import counted
from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.runs.begin import Start, start_run
from inference.runs.plan import Model
from inference.storage.lease import HeldLease
from inference.storage.store import Store, StoredObject
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.step import step
from tasks.reporting.formatting import file_size, plain


@step("plan ranks")
def plan_ranks(
    request: RunRequest,
    listing: Sequence[StoredObject],
    workload: Model | Script,
    store_root: str,
    held: HeldLease,
    fresh: bool,
) -> Start:
    """Assign partitions to ranks, write payload.json, and clear away results of another plan.

    Args:
        request: the checked request.
        listing: every object under its data prefix.
        workload: the staged model or script.
        store_root: root of the store.
        held: the lease on the result path, in the name of the run.
        fresh: clear away every result.

    Raises:
        BadInput: there is no partition.
        StoreError: the store cannot be listed or written.
    """
    start = start_run(Store(store_root), request, workload, held, fresh=fresh, listing=listing)
    plan, done = start.plan, frozenset(start.resumed)
    create_table_artifact(
        [
            {
                "rank": event.rank,
                "partitions": ", ".join(event.data_paths),
                "MB": round(sum(sizes[path] for path in event.data_paths) / 1e6, 2),
                "state": "done before" if event.rank in done else "to run",
            }
            for sizes in [{stored.key: stored.size for stored in plan.files}]
            for event in plan.events[:1000]
        ],
        key="cosmic-plan",
        description=plain(
            "; ".join([f"{counted(plan.world_size, 'rank')}, {counted(len(plan.files), 'partition')}", *plan.notes])
        ),
    )
    data = f"{counted(len(plan.files), 'partition')} of {file_size(sum(stored.size for stored in plan.files))}"
    did(f"{counted(plan.world_size, 'rank')} planned over {data}, {len(done):,} done before")
    return start

"""plan_ranks: which rank reads what, as a step."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.runs.begin import Start, start_run
from inference.runs.plan import Model
from inference.storage.lease import HeldLease
from inference.storage.store import Store
from tasks.prefect_support.artifacts import create_table_artifact
from tasks.prefect_support.retries import STEP_RETRIES, worth_retrying
from tasks.reporting.formatting import plain


@task(
    name="plan ranks",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,  # a retried flow run looks again at what lies in the store
)
def plan_ranks(request: RunRequest, workload: Model | Script, store_root: str, held: HeldLease, fresh: bool) -> Start:
    """Assign partitions to ranks, write payload.json, and clear away results of another plan.

    With `fresh`, every result is cleared away.

    Raises:
        BadInput: there is no partition.
        StoreError: the store cannot be listed or written.
    """
    start = start_run(Store(store_root), request, workload, held, fresh=fresh)
    plan = start.plan
    create_table_artifact(
        [
            {
                "rank": event.rank,
                "partitions": ", ".join(event.data_paths),
                "MB": round(sum(sizes[path] for path in event.data_paths) / 1e6, 2),
                "": "done before" if event.rank in start.resumed else "",
            }
            for sizes in [{stored.key: stored.size for stored in plan.files}]
            for event in plan.events[:1000]
        ],
        key="cosmic-plan",
        description=plain("; ".join([f"{plan.world_size} ranks, {len(plan.files)} partitions", *plan.notes])),
    )
    return start

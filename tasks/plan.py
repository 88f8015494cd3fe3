"""plan_ranks: which rank reads what; and the look at everything that comes before the first write."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact

from inference.combine import clear, gather
from inference.errors import BadInput
from inference.plan import Model, Plan, make_plan, payload, select_files
from inference.request import RunRequest
from inference.store import Store
from tasks.ledger import INVOCATIONS
from tasks.partition import made_before
from tasks.policy import STEP_RETRIES, worth_retrying
from tasks.price_book import load_price_book
from tasks.stage import find_weights

SUMMARIES = (
    "combined_data.json",
    "combined_data.partial.json",
    "predictions.parquet",
    "predictions.partial.parquet",
    "summary.json",
    "report.html",
)


def check(request: RunRequest, store_root: str) -> None:
    """Look at everything that a run needs, and write nothing.

    Raises:
        BadInput: the model, the partitions, their source, the store or the region are not as they must be.
    """
    store = Store(store_root)
    load_price_book().tiers(request.region, request.architecture)
    check_writable(store)
    if made_before(request, store) is None and request.partition is None:
        select_files(store.list(request.data_bucket, request.data_prefix), request)
    find_weights(request, store)


def check_writable(store: Store) -> None:
    """See whether a local store can be written, leaving nothing there; over S3 the first write tells.

    Raises:
        BadInput: it cannot.
    """
    if not store.is_local:
        return
    folder = Path(store.root)
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):  # which has no name; asking for the permissions is not enough
            pass
    except OSError as error:
        raise BadInput(f"the store {store.root} cannot be written: {folder}: {error.strerror}") from None


def read_request(store: Store, bucket: str, result_path: str) -> RunRequest:
    """The request of a run, from its payload.json.

    Raises:
        BadInput: there is no payload.json, or it is damaged.
    """
    key = f"{result_path}/payload.json"
    if store.head(bucket, key) is None:
        raise BadInput(f"there is no run under {bucket}/{result_path}: it has no payload.json")
    try:
        document = json.loads(store.read(bucket, key))
        return RunRequest.read({name: document[name] for name in RunRequest.model_fields if name in document})
    except (BadInput, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{bucket}/{key} is damaged: {error}") from None


@dataclass(frozen=True)
class Start:
    """A plan, and which of its ranks were done before this run began."""

    plan: Plan
    resumed: tuple[int, ...]


@task(
    name="plan ranks",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
)
def plan_ranks(request: RunRequest, model: Model, store_root: str, run_id: str, fresh: bool) -> Start:
    """Assign partitions to ranks, write payload.json, and clear away results of another plan.

    With `fresh`, every result is cleared away.

    Raises:
        BadInput: there is no partition.
        StoreError: the store cannot be listed or written.
    """
    store = Store(store_root)
    listing = store.list(request.data_bucket, request.data_prefix)
    plan = make_plan(request, listing, model, store.root)
    found = gather(store, plan.events)
    done = () if fresh else tuple(result.rank for result in found.results)
    stale = set(found.stale)
    if fresh:
        stale |= {f"{request.result_path}/{result.rank}.json" for result in found.results}
        store.delete(request.bucket, [f"{request.result_path}/{INVOCATIONS}"])  # the bill starts anew, too
    if len(done) < plan.world_size or stale:
        clear(store, request.bucket, request.result_path, stale)
        store.delete(request.bucket, [f"{request.result_path}/{name}" for name in SUMMARIES])
    document = payload(request, plan, run_id)
    store.write(
        request.bucket,
        f"{request.result_path}/payload.json",
        json.dumps(document, indent=1).encode(),
    )
    create_table_artifact(
        [
            {
                "rank": event.rank,
                "partitions": ", ".join(event.data_paths),
                "MB": round(sum(sizes[path] for path in event.data_paths) / 1e6, 2),
                "": "done before" if event.rank in done else "",
            }
            for sizes in [{stored.key: stored.size for stored in plan.files}]
            for event in plan.events[:1000]
        ],
        key="cosmic-plan",
        description="; ".join([f"{plan.world_size} ranks, {len(plan.files)} partitions", *plan.notes]),
    )
    return Start(plan, done)

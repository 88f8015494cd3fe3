"""plan_ranks: which rank reads what; and the look at everything that comes before the first write."""

import json
import tempfile
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from inference.errors import BadInput, StoreError
from inference.events import Script
from inference.plan import Model, select_files
from inference.request import RunRequest
from inference.start import Start, begin
from inference.store import Store
from tasks.artifacts import create_table_artifact
from tasks.display import plain
from tasks.partition import made_before
from tasks.policy import STEP_RETRIES, worth_retrying
from tasks.price_book import load_price_book
from tasks.stage import find_script, find_weights


def check(request: RunRequest, store_root: str) -> None:
    """Look at everything that a run needs, and write nothing.

    Raises:
        BadInput: the model, the partitions, their source, the store or the region are not as they must be.
    """
    store = Store(store_root)
    load_price_book().tiers(request.region, request.architecture)
    check_writable(store)
    try:
        if not store.is_local and not store.has_bucket(request.bucket):
            raise BadInput(f"bucket: there is no bucket {request.bucket}: `cosmic init {request.bucket} --store s3://`")
        if made_before(request, store) is None and request.partition is None:
            select_files(store.list(request.data_bucket, request.data_prefix), request)
        if request.script is None:
            find_weights(request, store)
        else:
            find_script(request, store)
    except StoreError as error:  # nothing has been written yet
        raise BadInput(str(error)) from error


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
        raise BadInput(f"there is no run under {bucket}/{result_path} in {store.root}: it has no payload.json")
    try:
        return RunRequest.of_payload(json.loads(store.read(bucket, key)))
    except (BadInput, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{bucket}/{key} is damaged: {error}") from None


@task(
    name="plan ranks",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,  # a retried flow run looks again at what lies in the store
)
def plan_ranks(request: RunRequest, what: Model | Script, store_root: str, run_id: str, fresh: bool) -> Start:
    """Assign partitions to ranks, write payload.json, and clear away results of another plan.

    With `fresh`, every result is cleared away.

    Raises:
        BadInput: there is no partition.
        StoreError: the store cannot be listed or written.
    """
    start = begin(Store(store_root), request, what, run_id, fresh=fresh)
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

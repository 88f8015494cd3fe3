"""The functions around the map: `data-parallel-init` (`initialize`) and `resultSummary` (`summarize`).

Both call what the flow calls; a machine that is started by hand, from the console, ends in the same files.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from inference.contract.run_request import RunRequest
from inference.errors import BadInput, RankFailed
from inference.rank_results.gather import gather, write_combined
from inference.runs.begin import root_lease, start_run
from inference.runs.plan import events_of, read_payload
from inference.runs.staged import staged
from inference.storage.store import S3_ROOT, Store

ITEMS = "items.json"
_TOLD = 100  # ranks that a summary names one by one: a state's output ends at 256 KB


def initialize(event: object, context: Any) -> dict[str, Any]:
    """Plan a run and write down its rank events, as the list that the map reads.

    Args:
        event: the run request; `run_id` beside it where a flow began the run already.
        context: Lambda's; `aws_request_id` names the run where no flow did.

    Returns:
        `bucket` and `result_path` of the run, `items_bucket` and `items_key` of the list, how many `ranks` it holds,
        the request's `max_concurrency` (0: as the machine has it).

    Raises:
        BadInput: the request, the partitions, the script or the model are not as they must be.
        StoreError: the store refused.
    """
    if not isinstance(event, Mapping):
        raise BadInput("the request must be a JSON object")
    request = RunRequest.read({name: value for name, value in event.items() if name != "run_id"})
    store = _store()
    run_id = str(event.get("run_id") or getattr(context, "aws_request_id", "") or "by hand")
    what = staged(store, request)
    if request.script is not None:
        root_lease(store, request, run_id).take()
    start = start_run(store, request, what, run_id)
    todo = [event.to_wire() for event in start.plan.events if event.rank not in start.resumed]
    key = f"{request.result_path}/{ITEMS}"
    store.write(request.bucket, key, json.dumps(todo).encode())
    return {
        "bucket": request.bucket,
        "result_path": request.result_path,
        "items_bucket": request.bucket,
        "items_key": key,
        "ranks": len(todo),
        "max_concurrency": request.max_concurrency or 0,
    }


def summarize(event: object, context: Any) -> dict[str, Any]:
    """Compare ranks found with ranks planned and write combined_data.json.

    Args:
        event: `bucket` and `result_path`, as `initialize` returned them.
        context: not read.

    Returns:
        `ranks_planned`, `ranks_done`, `missing_ranks` (the first hundred) and the key `combined`.

    Raises:
        BadInput: no run was begun there.
        RankFailed: more ranks are missing than TOLERATED_FAILURE_PERCENTAGE in the environment allows (default none).
        StoreError: the store refused.
    """
    if not isinstance(event, Mapping) or not isinstance(event.get("bucket"), str):
        raise BadInput("the event must name the run's bucket and result_path")
    bucket, result_path = str(event["bucket"]), str(event.get("result_path", ""))
    store = _store()
    document = read_payload(store, bucket, result_path)
    request = RunRequest.of_payload(document)
    events = events_of(document, request)
    found = gather(store, events)
    combined = write_combined(store, bucket, result_path, found)
    if request.script is not None:
        root_lease(store, request, str(document.get("run_id"))).release()
    tolerated = float(os.environ.get("TOLERATED_FAILURE_PERCENTAGE") or 0.0)
    if len(found.missing) * 100 > tolerated * len(events):
        told = ", ".join(map(str, found.missing[:_TOLD]))
        raise RankFailed(f"{len(found.missing)} of {len(events)} ranks are missing: {told}")
    return {
        "bucket": bucket,
        "result_path": result_path,
        "ranks_planned": len(events),
        "ranks_done": len(found.results),
        "missing_ranks": list(found.missing[:_TOLD]),
        "combined": combined,
    }


def _store() -> Store:
    return Store(os.environ.get("COSMIC_STORE", S3_ROOT))

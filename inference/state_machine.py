"""The functions around the map: `data-parallel-init` (`initialize`) and `resultSummary` (`summarize`).

Both call what the flow calls; a machine that is started by hand, from the console, ends in the same files.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from inference.contract.run_request import RunRequest
from inference.contract.validation import shorten
from inference.errors import BadInput, RankFailed
from inference.rank_results.gather import gather, write_combined
from inference.rank_results.publish_summary import generation_folder, publish_summary
from inference.runs.begin import leases_of, start_run
from inference.runs.plan import events_of, read_payload
from inference.runs.staged import staged
from inference.storage.lease import HeldLease, LeaseHeldError
from inference.storage.store import S3_ROOT, Store

ITEMS = "items.json"
NO_GANG = (
    "messages: a state machine repeats its ranks one by one, and ranks that send messages run all at once: run them"
    " with the executor lambda, local or dask"
)
_NAMED = 100  # ranks that a summary names one by one: a state's output ends at 256 KB
_RUN_TIMEOUT_S = 3_600  # the machine's own default; the stack tells the function another one in RUN_TIMEOUT
_SUMMARY_S = 300.0  # as long as the function may run
_MARGIN_S = 60.0


def initialize(event: object, context: Any) -> dict[str, Any]:
    """Plan a run and write down its rank events, as the list that the map reads.

    Args:
        event: the run request; `run_id` beside it where a flow began the run already.
        context: Lambda's; `aws_request_id` names the run where no flow did.

    Returns:
        `bucket` and `result_path` of the run, `items_bucket` and `items_key` of the list, how many `ranks` it holds,
        the request's `max_concurrency` (0: as the machine has it), the run's `run_id`, and whether it was started
        `by_hand`.

    Raises:
        BadInput: the request, the partitions, the script or the model are not as they must be.
        LeaseHeldError: another run holds the result path, or the flow that started this execution does not any more.
        StoreError: the store refused.
    """
    if not isinstance(event, Mapping):
        raise BadInput("the request must be a JSON object")
    request = RunRequest.read({name: value for name, value in event.items() if name != "run_id"})
    if request.messages is not None:
        raise BadInput(NO_GANG)
    store = _store()
    workload = staged(store, request)
    run_id = str(event.get("run_id") or "")
    if run_id:
        held = _of_flow(store, request, run_id)
    else:
        run_id = str(getattr(context, "aws_request_id", "") or "by hand")
        seconds = float(os.environ.get("RUN_TIMEOUT") or _RUN_TIMEOUT_S) + _MARGIN_S
        held = [lease.take(seconds) for lease in leases_of(store, request, run_id)]
    start = start_run(store, request, workload, held[0])
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
        "run_id": run_id,
        "by_hand": not event.get("run_id"),
    }


def _of_flow(store: Store, request: RunRequest, run_id: str) -> list[HeldLease]:
    """The leases that the flow holds which started this execution."""
    held = [lease.join() for lease in leases_of(store, request, run_id)]
    found = [lease for lease in held if lease is not None]
    if len(found) < len(held):
        raise LeaseHeldError(
            f"run_id: the flow run {shorten(run_id, 80)} does not hold {request.bucket}/{request.result_path} any more:"
            " start the request again with `cosmic run`, or without run_id by hand"
        )
    return found


def summarize(event: object, context: Any) -> dict[str, Any]:
    """Compare ranks found with ranks planned and write combined_data.json.

    A run that was started by hand, or whose flow is not there any more, ends here: its leases are released, also where
    it fails.

    Args:
        event: `bucket` and `result_path`, `run_id` and `by_hand`, as `initialize` returned them.
        context: not read.

    Returns:
        `ranks_planned`, `ranks_done`, `missing_ranks` (the first hundred) and the key `combined`.

    Raises:
        BadInput: no run was begun there.
        LeaseHeldError: another run took the result path over.
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
    run_id = str(event.get("run_id") or document.get("run_id"))
    leases = leases_of(store, request, run_id)
    joined = leases[0].join()
    held = joined or leases[0].take(_SUMMARY_S)  # of a flow that sleeps, or that died
    try:
        found = gather(store, events)
        combined = write_combined(store, bucket, generation_folder(result_path, held.generation), found)
        publish_summary(held, result_path)
    finally:
        if joined is None or event.get("by_hand", True):
            for lease in leases:
                lease.release()
    tolerated = float(os.environ.get("TOLERATED_FAILURE_PERCENTAGE") or 0.0)
    if len(found.missing) * 100 > tolerated * len(events):
        named = ", ".join(map(str, found.missing[:_NAMED]))
        raise RankFailed(f"{len(found.missing)} of {len(events)} ranks are missing: {named}")
    return {
        "bucket": bucket,
        "result_path": result_path,
        "ranks_planned": len(events),
        "ranks_done": len(found.results),
        "missing_ranks": list(found.missing[:_NAMED]),
        "combined": f"{result_path}/{combined.rpartition('/')[2]}",
    }


def _store() -> Store:
    return Store(os.environ.get("COSMIC_STORE", S3_ROOT))

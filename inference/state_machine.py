"""The functions around the map: `data-parallel-init` (`initialize`) and `resultSummary` (`summarize`).

Both call what the flow calls; a machine that is started by hand, from the console, ends in the same files. Both answer
in the replaced system's shapes besides, so that its machines run with these functions (docs/decisions/0026).
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from inference.contract.object_keys import checked_bucket, checked_key
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.contract.validation import shorten, text_of
from inference.errors import BadInput, RankFailed, ranks_missing
from inference.rank_results.as_written import collect, write_as_combined
from inference.rank_results.gather import gather, write_combined
from inference.rank_results.publish_summary import generation_folder, publish_summary, run_lease
from inference.runs.begin import leases_of, start_run
from inference.runs.known_survey import check_facts, read_some_facts
from inference.runs.map_items import answer, checked_form, items_of
from inference.runs.plan import Model, events_of, read_payload
from inference.runs.staged import staged, trained_on
from inference.scripts.environment import NOT_ON_FUNCTIONS
from inference.storage.lease import HeldLease, LeaseHeldError
from inference.storage.store import S3_ROOT, Store

ITEMS = "items.json"
NO_GANG = (
    "messages: a state machine repeats its ranks one by one, and ranks that send messages run all at once: run them"
    " with the executor lambda, local or dask"
)
_BESIDE = {"run_id", "execution", "items"}  # what stands beside a request's keys
_NAMED = 100  # ranks that a summary names one by one: a state's output ends at 256 KB
_RUN_TIMEOUT_S = 3_600  # the machine's own default; the stack tells the function another one in RUN_TIMEOUT
_SUMMARY_S = 300.0  # as long as the function may run
_MARGIN_S = 60.0


def initialize(event: object, context: Any) -> dict[str, Any]:
    """Plan a run and write down its rank events, as the list that the map reads.

    Args:
        event: the run request; `run_id` beside it where a flow began the run already; `execution`, the machine's name
            for itself, which names the run where no flow did, so that a call repeated after its answer was lost meets
            its own lease; and `items`, `s3` or `inline`, where the map wants the list in that form (default ITEMS in
            the environment, else `s3`).
        context: Lambda's; `aws_request_id` names the run where nobody else does.

    Returns:
        `bucket` and `result_path` of the run, `items_bucket` and `items_key` of the list, how many `ranks` it holds,
        the request's `max_concurrency` (0: as the machine has it), the run's `run_id`, whether it was started
        `by_hand`; and as the replaced system had it `statusCode` and `body`, which names the list, or is it (`inline`).

    Raises:
        BadInput: the request, the partitions, the script or the model are not as they must be.
        LeaseHeldError: another run holds the result path, or the flow that started this execution does not any more.
        StoreError: the store refused.
    """
    if not isinstance(event, Mapping):
        raise BadInput("the request must be a JSON object")
    form = checked_form(event.get("items") or os.environ.get("ITEMS") or "s3")
    execution = text_of(event, "execution", "")
    request = RunRequest.read({name: value for name, value in event.items() if name not in _BESIDE})
    if request.messages is not None:
        raise BadInput(NO_GANG)
    if request.script_environment:
        raise BadInput(NOT_ON_FUNCTIONS)
    store = _store()
    workload = staged(store, request)
    run_id = str(event.get("run_id") or "")
    if not run_id and isinstance(workload, Model):  # a flow has looked before it began
        facts = read_some_facts(store, request, store.list(request.data_bucket, request.data_prefix))
        check_facts(request, facts, trained_on(store, request))
    with ExitStack() as on_failure:
        if run_id:
            held = _of_flow(store, request, run_id)
        else:
            run_id = execution or str(getattr(context, "aws_request_id", "") or "by hand")
            held = _by_hand(store, request, run_id, on_failure)
        start = start_run(store, request, workload, held[0])
        todo = [event.to_wire() for event in start.todo]
        key = f"{request.result_path}/{ITEMS}"
        store.write(request.bucket, key, json.dumps(todo).encode())
        answered = answer(form, request.bucket, key, todo)
        on_failure.pop_all()  # from here on, the summary releases the leases
    return {
        "bucket": request.bucket,
        "result_path": request.result_path,
        "items_bucket": request.bucket,
        "items_key": key,
        "ranks": len(todo),
        "max_concurrency": request.max_concurrency or 0,
        "run_id": run_id,
        "by_hand": not event.get("run_id"),
        **answered,
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


def _by_hand(store: Store, request: RunRequest, run_id: str, on_failure: ExitStack) -> list[HeldLease]:
    """Leases for as long as the machine may run; `on_failure` releases them, as no summary would."""
    seconds = float(os.environ.get("RUN_TIMEOUT") or _RUN_TIMEOUT_S) + _MARGIN_S
    held = []
    for lease in leases_of(store, request, run_id):
        held.append(lease.take(seconds))
        on_failure.callback(lease.release)
    return held


def summarize(event: object, context: Any) -> dict[str, Any]:
    """Compare ranks found with ranks planned and write combined_data.json.

    A run that was started by hand, or whose flow is not there any more, ends here: its leases are released, also where
    it fails. The machine calls it after a map that failed, too; for an execution that was stopped, a person does, with
    `bucket` and `result_path` alone.

    Args:
        event: `bucket` and `result_path`, `run_id` and `by_hand`, as `initialize` returned them; or the answer of the
            replaced system's first function, whose `body` names the list of rank events, or is it.
        context: `aws_request_id` names the run that another system planned.

    Returns:
        `ranks_planned`, `ranks_done`, `missing_ranks` (the first hundred) and the key `combined`; and as the replaced
        system had it `statusCode` and `body`, a sentence.

    Raises:
        BadInput: no run was begun there.
        LeaseHeldError: another run took the result path over.
        RankFailed: more ranks are missing than TOLERATED_FAILURE_PERCENTAGE in the environment allows (default none).
        StoreError: the store refused.
    """
    if not isinstance(event, Mapping):
        raise BadInput("the event must be a JSON object")
    store = _store()
    if isinstance(event.get("bucket"), str):
        bucket = checked_bucket(event["bucket"], "bucket")
        return _summarize_ours(store, bucket, checked_key(text_of(event, "result_path"), "result_path"), event)
    events = items_of(store, event)
    first = events[0]
    if first.fingerprint:  # planned by `initialize`, whatever the machine did with the rest of its answer
        return _summarize_ours(store, first.result_bucket, first.result_path, event)
    return _summarize_theirs(store, events, str(getattr(context, "aws_request_id", "") or "by hand"))


def _summarize_ours(store: Store, bucket: str, result_path: str, event: Mapping[str, Any]) -> dict[str, Any]:
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
    return _summary(bucket, result_path, len(events), found.missing, combined)


def _summarize_theirs(store: Store, events: list[RankEvent], run_id: str) -> dict[str, Any]:
    """Of a run that the replaced system's first function planned: its results count as they lie there."""
    bucket, result_path = events[0].result_bucket, events[0].result_path
    held = run_lease(store, bucket, result_path, run_id).take(_SUMMARY_S)
    try:
        found = collect(store, events)
        combined = write_as_combined(store, bucket, generation_folder(result_path, held.generation), found)
        publish_summary(held, result_path)
    finally:
        held.lease.release()
    return _summary(bucket, result_path, len(events), found.missing, combined)


def _summary(bucket: str, result_path: str, planned: int, missing: Sequence[int], combined: str) -> dict[str, Any]:
    tolerated = float(os.environ.get("TOLERATED_FAILURE_PERCENTAGE") or 0.0)
    if len(missing) * 100 > tolerated * planned:
        named = ", ".join(map(str, missing[:_NAMED]))
        raise RankFailed(f"{ranks_missing(len(missing), planned)}: {named}")
    key = f"{result_path}/{combined.rpartition('/')[2]}"
    return {
        "bucket": bucket,
        "result_path": result_path,
        "ranks_planned": planned,
        "ranks_done": planned - len(missing),
        "missing_ranks": list(missing[:_NAMED]),
        "combined": key,
        "statusCode": 200,
        "body": json.dumps(f"Combined data uploaded to {key}"),
    }


def _store() -> Store:
    return Store(os.environ.get("COSMIC_STORE", S3_ROOT))

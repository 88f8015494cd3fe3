"""The run: from a request to redshifts, a table, a bill and a report."""

import time
from contextlib import suppress
from importlib import import_module
from threading import Thread
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.parameters import DEFAULT_STORE, request_with, store_root
from inference.contract.counted import counted
from inference.contract.run_request import RunRequest
from inference.contract.script import SCRIPT_ENGINE
from inference.errors import RunIncomplete, StoreError
from inference.messages.rendezvous import clear_messages
from inference.runs.begin import Start, run_leases
from inference.storage.lease import LeaseHeldError
from inference.storage.store import Store
from tasks.dispatch.dispatcher import Limits
from tasks.dispatch.grouping import ranks_per_task
from tasks.executors.base import Executor
from tasks.fan_out import check_limit, fan_out
from tasks.invocations.journal import Journal
from tasks.invocations.ledger import Ledger
from tasks.invocations.stored import keep_executions
from tasks.plan import plan_ranks
from tasks.planning.foretold import as_stored, one_line
from tasks.prefect_support.assets import file_asset, making, stored_asset
from tasks.prefect_support.aws_credentials import credentials
from tasks.prefect_support.cancellation import Cancellation, confirm
from tasks.prefect_support.last_line import did, ended
from tasks.prefect_support.step import whole
from tasks.prefect_support.tags import tag_flow_run
from tasks.preflight import prepare
from tasks.reporting.terminal import announce
from tasks.stage import model_lineage, stage_scripts


def _name_of_run() -> str:
    parts = [flow_run.parameters.get(name) for name in ("request", "changes")]
    request = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
    return f"{request.get('bucket')}/{request.get('result_path')}" if request else "run"


def _run_ranks(
    request: RunRequest, root: str, planned: State[Start], pool: Executor, limits: Limits, cancelled: Cancellation
) -> tuple[Ledger, list[Any]]:
    start = planned.result()
    todo = start.todo
    pool.recover(start.plan.events)
    if not todo:
        ledger = Ledger()
        ledger.invocations = pool.settle([])
        return ledger, []
    # What comes after the ranks needs pandas and matplotlib: fetched while ranks run, for which nothing else is to do.
    Thread(target=import_module, args=("tasks.report",), name="cosmic-import", daemon=True).start()
    # An execution of a state machine is noted by its executor.
    journal = None if pool.takes_whole_run else Journal(Store(root), request.bucket, start.folder, todo)
    gang = todo[0].messages
    size = ranks_per_task(len(todo), request.ranks_per_task) if gang is None else len(todo)
    try:
        return fan_out(todo, pool, size, limits, cancelled, planned, journal)
    finally:
        if gang is not None:
            with suppress(StoreError):  # what lies there disturbs nobody
                clear_messages(Store(root), request.bucket, gang.gang)


@flow(name="run", flow_run_name=_name_of_run, validate_parameters=False, on_cancellation=[confirm])
def run(
    request: dict[str, Any],
    store: str = DEFAULT_STORE,
    executor: str = "local",
    workers: int | None = None,
    fresh: bool = False,
    aws_credentials: str | None = None,
    changes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a model, or a staged script, over a partitioned data set.

    Args:
        request: the run request (docs/request.schema.json).
        store: root of the object store, a folder or `s3://`.
        executor: `local`, `lambda`, `step-functions` or `dask`; `lambda` and `step-functions` need `s3://`.
        workers: processes of the local executor; 0 runs every rank in this process; default one a core.
        fresh: run every rank anew, also those that are done.
        aws_credentials: name of an AwsCredentials block; default the standard credential chain.
        changes: keys of the request to replace, so that a deployment's run need not repeat the rest.

    Returns:
        The run's document, as `cosmic run --json` prints it.

    Raises:
        BadInput: something was wrong before the first write.
        RunIncomplete: ranks are missing; carries the document as `document`.
        StoreError: the store failed on the way; names the ranks that failed, too.
    """
    began = time.time()
    with credentials(aws_credentials):
        prepared = prepare(RunRequest.read(request_with(request, changes)), store_root(store), executor, workers)
        checked, root, pool = prepared.request, prepared.store_root, prepared.executor
        check_limit(checked)
        pool.run_id = run_id = str(flow_run.id)
        if prepared.prediction is not None:
            announce(one_line(prepared.prediction))
        limits = Limits.of(checked, pool)
        with run_leases(Store(root), checked, run_id) as leases:
            tag_flow_run(executor, SCRIPT_ENGINE if checked.script else checked.engine)
            listing, store_of_run = prepared.listing, Store(root)
            data = stored_asset(store_of_run, checked.data_bucket, checked.data_prefix)
            if checked.partition is not None and listing is None:
                from tasks.partition import partition_dataset  # with pandas, which else comes beside the ranks

                cut = making(partition_dataset, [data], [file_asset(checked.partition.source)])
                listing = tuple(cut(checked, checked.partition, root, run_id))
            stage = making(stage_scripts, *model_lineage(prepared))
            workload = stage(prepared)
            listed = whole(listing or ())
            planned = plan_ranks(checked, listed, workload, root, leases[0], fresh, return_state=True)
            start = planned.result()
            with Cancellation(flow_run.id) as cancelled:
                ledger, ran = _run_ranks(checked, root, planned, pool, limits, cancelled)
            for lease in leases:
                lease.check()
            from tasks.bill import compute_costs
            from tasks.report import publish_report
            from tasks.summarize import summarize

            announce("Combining results, computing the bill, drawing the report")
            facts = {"run_id": run_id, "executor": executor, "store": root} | pool.facts()
            if prepared.survey_note is not None:
                facts["notes"] = [*facts.get("notes", ()), prepared.survey_note]
            facts["trained_on"] = prepared.trained_on
            facts["prediction"] = None if prepared.prediction is None else as_stored(prepared.prediction)
            try:
                executions = [*facts.pop("abandoned", []), facts.get("execution", {})]
                if ended_ones := [each for each in executions if each.get("arn")]:
                    keep_executions(Store(root), checked.bucket, checked.result_path, ended_ones, folder=start.folder)
                begun = whole(start)
                summary = summarize(checked, begun, ledger, root, facts, wait_for=ran)
                costs, billed = compute_costs(checked, begun, whole(summary), ledger, root)
                summary.results.clear()  # the report needs the table alone, and is where memory is at its highest
                used = stored_asset(store_of_run, checked.bucket, workload.key)
                result = stored_asset(store_of_run, checked.bucket, checked.result_path)
                document = making(publish_report, [result], [data, used])(
                    checked, begun, leases[0], whole(summary), costs, whole(billed), root, began
                )
            except LeaseHeldError:
                raise
            except StoreError as error:
                raise StoreError(f"{error}{ledger.failures()}; the results of the other ranks are kept") from error
    if document["missing_ranks"] and not document["tolerated"]:
        incomplete = RunIncomplete(document)
        ended(str(incomplete), "Failed")
        raise incomplete
    of_ranks = f"{document['ranks_done']:,} of {counted(document['ranks_planned'], 'rank')}"
    did(f"{of_ranks} done, {counted(document['samples'], 'galaxy')}")
    return document

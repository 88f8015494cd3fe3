"""The run: from a request to redshifts, a table, a bill and a report."""

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from inference.errors import BadInput, RunIncomplete, StoreError
from inference.request import RunRequest
from tasks.cost import compute_costs
from tasks.executors.base import Executor
from tasks.executors.local import LocalExecutor
from tasks.fanout import fan_out
from tasks.ledger import Ledger
from tasks.partition import partition_dataset
from tasks.plan import check, plan_ranks
from tasks.policy import ranks_per_task
from tasks.report import publish_report
from tasks.stage import stage_scripts
from tasks.summarize import summarize

DEFAULT_STORE = ".cosmic/store"


def _name_of_run() -> str:
    request = flow_run.parameters.get("request", {})
    return f"{request.get('bucket')}/{request.get('result_path')}" if isinstance(request, dict) else "run"


def _executor(name: str, request: RunRequest, workers: int | None) -> Executor:
    if name != "local":
        raise BadInput(f"executor must be local, not {name!r:.40}")
    if workers is not None and request.max_concurrency is not None:
        workers = min(workers, request.max_concurrency)
    return LocalExecutor(
        request.max_concurrency if workers is None else workers,
        request.rank_timeout,
        request.memory_mb,
    )


def _tag(request: RunRequest, executor: str) -> None:
    """Tag the flow run, and not its task runs: a tagged task run asks the server for leave (docs/decisions/0003)."""
    tags = {*flow_run.tags, "cosmic", executor, request.engine}
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=sorted(tags))


@flow(name="run", flow_run_name=_name_of_run, validate_parameters=False)
def run(
    request: dict[str, Any],
    store: str = DEFAULT_STORE,
    executor: str = "local",
    workers: int | None = None,
    fresh: bool = False,
) -> dict[str, Any]:
    """Run a model over a partitioned data set.

    Args:
        request: the run request (docs/request.schema.json).
        store: root of the object store, a folder or `s3://`.
        executor: `local`.
        workers: processes of the local executor; 0 runs every rank in this process; default one a core.
        fresh: run every rank anew, also those that are done.

    Returns:
        The run's document, as `cosmic run --json` prints it.

    Raises:
        BadInput: something was wrong before the first write.
        RunIncomplete: ranks are missing; carries the document as `document`.
        StoreError: the store failed on the way; names the ranks that failed, too.
    """
    began = time.time()
    checked = RunRequest.read(request)
    root = store if "://" in store else str(Path(store).expanduser().resolve())
    pool = _executor(executor, checked, workers)
    check(checked, root)
    run_id = str(flow_run.id)
    _tag(checked, executor)
    if checked.partition is not None:
        partition_dataset(checked, checked.partition, root)
    model = stage_scripts(checked, root)
    start = plan_ranks(checked, model, root, run_id, fresh)
    todo = [event for event in start.plan.events if event.rank not in start.resumed]
    each = ranks_per_task(len(todo), checked.ranks_per_task) if todo else 1
    ledger = fan_out(todo, pool, each) if todo else Ledger()
    facts = {"run_id": run_id, "executor": executor, "store": root}
    try:
        summary = summarize(checked, start, ledger, root, facts)
        costs, billed = compute_costs(checked, start, summary, ledger, root)
        document = publish_report(checked, summary, costs, billed, root, began)
    except StoreError as error:
        raise StoreError(f"{error}{ledger.failures()}; the results of the other ranks are kept") from error
    if document["missing_ranks"]:
        raise RunIncomplete(document)
    return document

"""The benchmark: a sweep's cells as runs of their own, and what their numbers say together."""

import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.parameters import DEFAULT_STORE, store_root
from flows.run import run
from inference.contract.counted import counted
from inference.contract.object_keys import RESERVED
from inference.contract.run_request import RunRequest
from inference.errors import BadInput, CosmicError, RunIncomplete
from inference.rank_results.publish_summary import summary_key
from inference.storage.lease import Lease
from inference.storage.store import Store
from tasks.check_sweep import check_sweep
from tasks.compare import compare_with_last_good
from tasks.executors.select import ON_AWS
from tasks.planning.sweep_estimate import check_budget, expect
from tasks.prefect_support.aws_credentials import credentials
from tasks.prefect_support.last_line import did
from tasks.prefect_support.tags import tag_flow_run
from tasks.reporting.terminal import announce
from tasks.simulate import simulate_survey
from tasks.sweep_steps import memory_kept, publish_sweep, set_memory
from tasks.sweeps.cells import Measurement
from tasks.sweeps.comparison import GATES, check_gate
from tasks.sweeps.run_metrics import checked_document
from tasks.sweeps.run_times import RunTimes
from tasks.sweeps.sweep import PlannedCell, Sweep


def _name_of_run() -> str:
    sweep = flow_run.parameters.get("sweep")
    return str(sweep.get("name") if isinstance(sweep, dict) else Path(str(sweep)).stem)


def load_sweep(sweep: str | Mapping[str, Any], changes: Mapping[str, Any] | None) -> Sweep:
    """A sweep from a file, from the name of one that comes with the package, or from its content.

    Raises:
        BadInput: it is no sweep.
    """
    return Sweep.read(sweep, changes) if isinstance(sweep, Mapping) else Sweep.load(Path(sweep), changes)


@flow(name="benchmark", flow_run_name=_name_of_run, validate_parameters=False)
def benchmark(
    sweep: str | dict[str, Any],
    changes: dict[str, Any] | None = None,
    store: str = DEFAULT_STORE,
    max_cost: float | None = None,
    results: str | None = None,
    aws_credentials: str | None = None,
    fresh: bool = False,
    fail_above: float | None = None,
) -> dict[str, Any]:
    """Run every cell of a sweep, a sub-flow run each, and publish tables, plots and findings.

    Args:
        sweep: a sweep file, the name of one that comes with the package (`smoke`), or its content.
        changes: laid over it key by key, to cut its data down, say.
        store: root of the object store, a folder or `s3://`.
        max_cost: USD; a sweep that is expected to cost more is refused.
        results: folder for tables and plots; default `<sweep name>` below `sweeps/` in the sweep's bucket only.
        aws_credentials: name of an AwsCredentials block; default the standard credential chain.
        fresh: measure every cell anew, with results in a folder named for the time this flow run was scheduled for;
            a flow run that is retried goes on in its own folder.
        fail_above: compare with the last good night (`tasks.compare`), and raise a Prefect event when a cell is worse
            by more than this ratio and by more than the noise.

    Returns:
        The sweep's document: one row for each run, the failed ones with their reason.

    Raises:
        BadInput: the sweep or the gate is wrong, the sweep is too expensive, or it varies the memory of a function
            that is not there.
        LeaseHeldError: another process measures a sweep of this name.
        CosmicError: every run failed; the report is published before.
    """
    tag_flow_run("benchmark")
    check_gate(fail_above, GATES)
    loaded = load_sweep(sweep, changes)
    if fresh:
        night = flow_run.get_scheduled_start_time().astimezone(UTC)
        loaded = loaded.model_copy(update={"results": f"{loaded.results}/{night:%Y-%m-%dT%H%M%SZ}"})
    root = store_root(store)
    if max_cost is not None:
        check_budget(expect(loaded, root), max_cost)
    with credentials(aws_credentials):
        check_sweep(loaded, root)
    with (
        credentials(aws_credentials),
        _lease(loaded, root).keep(temporary=True) as held,
        _memory_given_back(loaded, root),
    ):
        source = None
        if loaded.survey is not None and loaded.survey.samples is not None:
            source = simulate_survey(loaded.survey.samples, loaded.survey.seed)
        runs = list(loaded.runs(source))
        measured, times = [], RunTimes()
        for count, (repeat, cell) in enumerate(runs, 1):
            left = times.left([later.name for _, later in runs[count - 1 :]])
            held.check()  # this process may have slept, and another one measure by now
            line = f"run {count} of {len(runs)}: {cell.name}, repeat {repeat}{left}"
            announce(line)
            get_run_logger().info(line)
            measured.append(_measure(loaded, cell, repeat, root, aws_credentials, times))
        held.check()  # or have published meanwhile
        document = publish_sweep(loaded, measured, root, results)
        if fail_above is not None:
            compare_with_last_good(document, str(loaded.request["bucket"]), root, fail_above)
    if len(document["failed"]) == document["runs"]:
        raise CosmicError(f"every run of the sweep failed, the first because {document['failed'][0]['error']}")
    did(f"{counted(document['runs'], 'run')} of the sweep, {len(document['failed']):,} failed")
    return document


def _lease(sweep: Sweep, root: str) -> Lease:
    """Where a sweep of this name is published, and two processes at once would take it from one another."""
    bucket, holder = str(sweep.request["bucket"]), f"cosmic bench {uuid.uuid4().hex[:8]}"
    what = f"sweeps/{sweep.name} in bucket {bucket}"
    return Lease(Store(root), bucket, f"{RESERVED}/sweeps/{sweep.name}", holder, what)


def _sets_memory(sweep: Sweep, cell: PlannedCell) -> bool:
    """Whether a run is to change its function's memory: a sweep that does not name the axis takes it as it is."""
    return cell.executor in ON_AWS and "memory_mb" in sweep.axes.model_fields_set


def _memory_given_back(sweep: Sweep, root: str) -> AbstractContextManager[None]:
    """The function, which all cells share, has the memory afterwards that it had before."""
    cells = [cell for cell in sweep.cells() if _sets_memory(sweep, cell)]
    if not cells:
        return nullcontext()
    function = _function_of(sweep, cells[0])
    note = f"{RESERVED}/function-memory/{function}.json"  # which a sweep of another name reads, too
    sizes = {cell.axes["memory_mb"] for cell in cells}
    return memory_kept(function, Store(root), str(sweep.request["bucket"]), note, sizes)


def _function_of(sweep: Sweep, cell: PlannedCell) -> str:
    return RunRequest.read(cell.request_of(sweep.results, 1)).function_name


def _measure(
    sweep: Sweep, cell: PlannedCell, repeat: int, root: str, aws_credentials: str | None, times: RunTimes
) -> Measurement:
    """One run of a cell, or what is kept of it when it was done before; a failure is noted, not raised."""
    request = cell.request_of(sweep.results, repeat)
    done = _done_before(request, root)
    if done is not None:
        return Measurement(cell.axes, repeat, done, None)
    workers = sweep.workers_of(cell)
    try:
        if _sets_memory(sweep, cell):
            set_memory(_function_of(sweep, cell), cell.axes["memory_mb"])
        with times.of(cell.name):
            document = run(request, root, cell.executor, workers, False, aws_credentials)
        return Measurement(cell.axes, repeat, document, None)
    except RunIncomplete as error:
        return Measurement(cell.axes, repeat, error.document, str(error))
    except CosmicError as error:
        return Measurement(cell.axes, repeat, {}, str(error))


def _done_before(request: dict[str, Any], root: str) -> dict[str, Any] | None:
    """The document of a whole run of this very request, if there is one."""
    checked = RunRequest.read(request)
    store = Store(root)
    key = summary_key(store, checked.bucket, checked.result_path)
    try:
        document = dict(checked_document(store.read_json(checked.bucket, key), key))
    except BadInput:
        return None  # a damaged document is of no run: the cell is measured again
    whole = document.get("missing_ranks") == [] and document.get("ranks_resumed") == 0
    return document if whole and document.get("request") == checked.document() else None

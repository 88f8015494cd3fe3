"""The benchmark: a sweep's cells as runs of their own, and what their numbers say together."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.run import DEFAULT_STORE, run
from inference.errors import CosmicError, RunIncomplete
from inference.request import RunRequest
from inference.store import Store
from tasks.aws import credentials
from tasks.expectation import check_budget, expect
from tasks.measurement import Measurement
from tasks.survey import simulated
from tasks.sweep import Cell, Sweep
from tasks.sweep_report import publish_sweep


def _name_of_run() -> str:
    sweep = flow_run.parameters.get("sweep")
    return str(sweep.get("name") if isinstance(sweep, dict) else Path(str(sweep)).stem)


def load_sweep(sweep: str | Mapping[str, Any], changes: Mapping[str, Any] | None) -> Sweep:
    """A sweep from a file's name or from its content.

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
) -> dict[str, Any]:
    """Run every cell of a sweep, a sub-flow run each, and publish tables, plots and findings.

    Args:
        sweep: a sweep file, or its content.
        changes: laid over it key by key, to cut its data down, say.
        store: root of the object store, a folder or `s3://`.
        max_cost: USD; a sweep that is expected to cost more is refused.
        results: folder for tables and plots; default `<sweep name>` below `sweeps/` in the sweep's bucket only.
        aws_credentials: name of an AwsCredentials block; default the standard credential chain.

    Returns:
        The sweep's document: a row a run, the failed ones with their reason.

    Raises:
        BadInput: the sweep is wrong, or too expensive.
        RunIncomplete: every cell failed.
    """
    loaded = load_sweep(sweep, changes)
    check_budget(expect(loaded), max_cost)
    root = store if "://" in store else str(Path(store).expanduser().resolve())
    with credentials(aws_credentials):
        source = None
        if loaded.survey is not None and loaded.survey.samples is not None:
            source = simulated(loaded.survey.samples, loaded.survey.seed)
        measured = [_measure(loaded, cell, repeat, root, aws_credentials) for repeat, cell in loaded.runs(source)]
        return publish_sweep(loaded, measured, root, results)


def _measure(sweep: Sweep, cell: Cell, repeat: int, root: str, aws_credentials: str | None) -> Measurement:
    """One run of a cell, or what is kept of it when it was done before; a failure is noted, not raised."""
    request = cell.request_of(sweep.results, repeat)
    done = _done_before(request, root)
    if done is not None:
        return Measurement(cell.axes, repeat, done, None)
    workers = sweep.workers if cell.executor == "local" else None
    try:
        return Measurement(cell.axes, repeat, run(request, root, cell.executor, workers, False, aws_credentials), None)
    except RunIncomplete as error:
        return Measurement(cell.axes, repeat, error.document, str(error))
    except CosmicError as error:
        return Measurement(cell.axes, repeat, {}, str(error))


def _done_before(request: dict[str, Any], root: str) -> dict[str, Any] | None:
    """The document of a whole run of this very request, if there is one."""
    checked = RunRequest.read(request)
    store, key = Store(root), f"{checked.result_path}/summary.json"
    if store.head(checked.bucket, key) is None:
        return None
    try:
        document = json.loads(store.read(checked.bucket, key))
    except ValueError:
        return None
    whole = isinstance(document, dict) and document.get("missing_ranks") == [] and document.get("ranks_resumed") == 0
    return document if whole and document.get("request") == checked.document() else None

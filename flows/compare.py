"""The comparison: two runs or sweeps that are there, or two ways to run one request, in turns."""

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import DEFAULT_STORE, request_with, store_root
from flows.run import run
from inference.contract.counted import counted
from inference.contract.run_request import RunRequest
from inference.errors import BadInput
from tasks.compare import publish_comparison
from tasks.prefect_support.aws_credentials import credentials
from tasks.prefect_support.last_line import did
from tasks.prefect_support.tags import tag_flow_run
from tasks.preflight import prepare
from tasks.sweeps.comparison import GATES, Side, check_gate, load_side, side_of_runs
from tasks.sweeps.comparison import compare as compare_sides

_SIDE_KEYS = {"executor", "workers", "request"}


def _name_of_run() -> str:
    sides = [flow_run.parameters.get(side) for side in ("a", "b")]
    return " against ".join(
        str(side.get("executor", "local")) if isinstance(side, dict) else str(side) for side in sides
    )


@flow(name="compare", flow_run_name=_name_of_run, validate_parameters=False)
def compare(
    a: str | dict[str, Any],
    b: str | dict[str, Any],
    request: dict[str, Any] | None = None,
    store: str = DEFAULT_STORE,
    repeats: int = 1,
    fail_above: float | None = None,
    metrics: list[str] | None = None,
    key: str = "cosmic-comparison",
    aws_credentials: str | None = None,
    changes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare two runs or sweeps; runs that are yet to be made are sub-flow runs, A and B taking turns.

    Args:
        a: what is there already (`tasks.sweeps.comparison.load_side`), or what to run: {executor, workers, request},
            the latter laid over `request` key by key.
        b: likewise.
        request: the run request that both sides share; their results go to `<result_path>/a/1`, `.../b/1`, ...
        store: root of the object store, a folder or `s3://`.
        repeats: runs of a side that is yet to be run.
        fail_above: raise a Prefect event when B is worse than A by more than this ratio, and by more than the noise.
        metrics: what the gate looks at; default makespan and cost.
        key: of the table artifact.
        aws_credentials: name of an AwsCredentials block; default the standard credential chain.
        changes: keys of `request` to replace, so that a deployment's run need not repeat the rest.

    Returns:
        The comparison (`tasks.sweeps.comparison.compare`); `tripped` is empty unless the gate tripped.

    Raises:
        BadInput: a side, the gate or a request is wrong; found before the first run.
        RunIncomplete: ranks of a run are missing.
    """
    tag_flow_run("compare")
    store, request = store_root(store), request_with(request or {}, changes)
    gates = tuple(metrics or GATES)
    check_gate(fail_above, gates)
    if not isinstance(repeats, int) or not 1 <= repeats <= 100:
        raise BadInput(f"repeats must lie between 1 and 100, not {repeats!r:.40}")
    sides = {"a": a, "b": b}
    for name, side in sides.items():
        if not isinstance(side, str | dict):
            raise BadInput(f"{name} must be the place of a run or a sweep, or an object that says what to run")
    there = {name: load_side(side, store) for name, side in sides.items() if isinstance(side, str)}
    to_run = {name: _checked(name, side, request) for name, side in sides.items() if isinstance(side, dict)}
    with credentials(aws_credentials):
        for executor, workers, what in to_run.values():
            prepare(RunRequest.read(what), store, executor, workers)
    documents: dict[str, list[dict[str, Any]]] = {name: [] for name in to_run}
    for repeat in range(1, repeats + 1):
        for name, (executor, workers, what) in to_run.items():
            mine = what | {"result_path": f"{what['result_path']}/{name}/{repeat}"}
            documents[name].append(run(mine, store, executor, workers, True, aws_credentials))
    made = {name: side_of_runs(_name(name, *to_run[name]), runs) for name, runs in documents.items()}
    both: dict[str, Side] = there | made
    comparison = compare_sides(both["a"], both["b"], fail_above, gates)
    publish_comparison(comparison, key)
    did(f"{counted(len(comparison['rows']), 'row')} compared, {len(comparison['tripped']):,} beyond the gate")
    return comparison


def _checked(name: str, side: dict[str, Any], request: dict[str, Any]) -> tuple[str, int | None, dict[str, Any]]:
    """Executor, workers and request of a side that is yet to be run."""
    unknown = sorted(map(str, set(side) - _SIDE_KEYS))
    if unknown:
        raise BadInput(f"{name} has an unknown key {unknown[0]}: a side to run has {', '.join(sorted(_SIDE_KEYS))}")
    changes = side.get("request") or {}
    if not isinstance(changes, dict):
        raise BadInput(f"{name}: request must be an object")
    checked = RunRequest.read(request | changes)
    return str(side.get("executor", "local")), side.get("workers"), checked.document()


def _name(name: str, executor: str, workers: int | None, what: dict[str, Any]) -> str:
    return f"{what['bucket']}/{what['result_path']}/{name} on {executor}"

"""Parameters that several flows have, checked alike."""

from pathlib import Path
from typing import Any

from prefect.context import FlowRunContext

from inference.contract.validation import shorten, with_changes
from inference.errors import BadInput

DEFAULT_STORE = ".cosmic/store"


def store_root(store: str) -> str:
    """The absolute root of a store.

    Args:
        store: a folder, in which `~` is the home of whoever runs the flow, or a URL.

    Raises:
        BadInput: a deployment names a relative folder. A worker runs each flow run in a folder of its own and deletes
            it afterwards, with everything in it.
    """
    return data_path("store", store, resolved=True)


def data_path(name: str, path: str, *, resolved: bool = False) -> str:
    """A file or folder that a flow reads or writes.

    Args:
        name: of the parameter.
        path: `~` is the home of whoever runs the flow; a URL is left as it is.
        resolved: make it absolute; else it is so for a deployment alone.

    Raises:
        BadInput: a deployment names a relative one. A worker runs each flow run in a folder of its own and deletes it
            afterwards, with everything in it.
    """
    if "://" in path:
        return path
    place = Path(path).expanduser()
    context = FlowRunContext.get()
    deployed = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
    if deployed and not place.is_absolute():
        raise BadInput(
            f"{name}: a deployment needs an absolute folder, ~/FOLDER or s3://, not {shorten(path, 120)},"
            " which would lie in a folder that the worker deletes after the run"
        )
    return str(place.resolve() if resolved else place)


def request_with(request: dict[str, Any], changes: dict[str, Any] | None) -> dict[str, Any]:
    """A run request with some of its keys replaced.

    Raises:
        BadInput: `changes` is no object.
    """
    if changes is None:
        return request
    for name, value in (("request", request), ("changes", changes)):
        if not isinstance(value, dict):
            raise BadInput(f"{name}: it must be an object, not {shorten(value, 120)}")
    return with_changes(request, changes)

"""Whether a request is done already, as the store alone tells, without writing: its summary is then the answer."""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from inference.contract.object_keys import calibration_key
from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.errors import BadInput, StoreError
from inference.model.checkpoint import content_hash
from inference.rank_results.gather import gather
from inference.rank_results.publish_summary import committed_folder
from inference.runs.plan import Model, make_plan
from inference.runs.staged import staged
from inference.storage.store import Store

_PLACE = {"region", "architecture"}  # what a run on AWS sets in its request: where its functions really are


def stored_summary(request: RunRequest, store_root: str) -> dict[str, Any] | None:
    """The summary of the finished run of this very request.

    It counts when the partitions, the model or script, the batch size and all else that redshifts and bill depend on
    are as they were, and every rank's result and redshifts are there. A request that makes its partitions or stages its
    script first, or has a requirements file, is never answered from here: their sources may have changed.

    Returns:
        The document as `cosmic run --json` prints it; None where anything is missing or different, and a run must look.

    Raises:
        BadInput: the store cannot be reached or read.
    """
    if request.partition is not None or request.script_source is not None or request.script_environment:
        return None
    try:
        store = Store(store_root)
        if not store.has_bucket(request.bucket):
            return None
        folder = committed_folder(store, request.bucket, request.result_path)
        summary = _read(store, request.bucket, f"{folder}/summary.json")
        planned = _read(store, request.bucket, f"{request.result_path}/payload.json")
        if summary is None or planned is None or summary.get("missing_ranks") != []:
            return None
        if summary.get("store") != store.root:  # moved: the report is not where the summary says
            return None
        added = set() if summary.get("executor") == "local" else _PLACE
        asked = {name: value for name, value in request.document().items() if name not in added}
        ran = summary.get("request")
        if not isinstance(ran, dict) or {**ran, **asked} != ran or not ran.keys() - asked.keys() <= added:
            return None
        listing = store.list(request.data_bucket, request.data_prefix)
        plan = make_plan(request, listing, _what(request, store), store.root)
        if planned.get("fingerprints") != {str(event.rank): event.fingerprint for event in plan.events}:
            return None
        if summary.get("ranks_done") != plan.world_size or gather(store, plan.events).missing:
            return None
        if not _has_newest_intervals(summary, request, store):
            return None
        names = ["combined_data.json", "report.html", *([] if request.script else ["predictions.parquet"])]
        there = store.keys(request.bucket, request.result_path)
        return (
            summary
            if there >= {f"{place}/{name}" for name in names for place in (folder, request.result_path)}
            else None
        )
    except StoreError as error:  # nothing has been written, and the run would only meet it again
        raise BadInput(str(error)) from error
    except (BadInput, OSError):
        return None  # the run itself says so better


def last_summary(request: RunRequest, store_root: str) -> dict[str, Any] | None:
    """The summary under the request's result path as it lies there, of whatever request; None where there is none.

    Raises:
        BadInput: the store cannot be reached or read.
    """
    store = Store(store_root)
    try:
        if not store.has_bucket(request.bucket):
            return None
        folder = committed_folder(store, request.bucket, request.result_path)
        return _read(store, request.bucket, f"{folder}/summary.json")
    except StoreError as error:
        raise BadInput(str(error)) from error


def _has_newest_intervals(summary: dict[str, Any], request: RunRequest, store: Store) -> bool:
    """Whether the summary's intervals come from the calibration that lies beside the model now, if there is one."""
    model, used = summary.get("model"), summary.get("calibration")
    if not isinstance(model, dict):
        return True
    key = calibration_key(str(model.get("key")))
    if store.head(request.bucket, key) is None:
        return used is None
    now = hashlib.sha256(store.read(request.bucket, key)).hexdigest()
    return isinstance(used, dict) and used.get("sha256") == now


def _read(store: Store, bucket: str, key: str) -> dict[str, Any] | None:
    try:
        document = store.read_json(bucket, key)
    except BadInput:
        return None
    return document if isinstance(document, dict) else None


def _what(request: RunRequest, store: Store) -> Model | Script:
    """What the request would run; of a model only the content counts, wherever it lies."""
    if request.script is not None:
        return staged(store, request)
    if request.model is None:
        return Model("", content_hash(Path(str(files("inference") / "weights" / "demo.safetensors"))))
    file = Path(request.model).expanduser()
    is_key = not request.model.startswith(("/", "~", "./", "../"))
    if is_key and store.head(request.bucket, request.model) is not None:
        return staged(store, request.model_copy(update={"engine": "torch"}))  # which needs no graph beside it
    return Model("", content_hash(file))

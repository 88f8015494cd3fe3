"""Script mode of the handler: a staged script runs as it did under the replaced function (contract, "Rank event").

Other than there, unchanged files are not downloaded again, only the contract's keys reach the script's environment, and
a script that fails, hangs or writes no result fails its rank.
"""

import json
import os
import re
import shlex
import signal
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.script import Script
from inference.errors import BadInput, CosmicError, RankFailed
from inference.messages.rendezvous import say_failed
from inference.partitions.planned import find_planned
from inference.rank_results.external import import_external_result
from inference.rank_results.gather import read_result, result_key
from inference.resource_usage import WORKER
from inference.scripts.container import Container
from inference.scripts.download import fetch, files_of, script_hash
from inference.scripts.environment import python_with
from inference.scripts.interpreter import interpreter, lacking_module
from inference.scripts.loopback_s3 import INSTALL, is_installed, is_needed, loopback_s3
from inference.scripts.names import own_names
from inference.scripts.place import FUNCTION, TMP, at_tmp, own_scratch
from inference.scripts.process import Ended, run_process, write_log
from inference.storage.store import Store, StoredObject

__all__ = ["run_script", "script_hash"]

EVENT_KEYS = (
    "S3_BUCKET",
    "BUCKET",
    "RESULT_BUCKET",
    "S3_OBJECT_NAME",
    "SCRIPT",
    "S3_OBJECT_TYPE",
    "WORLD_SIZE",
    "RANK",
    "DATA_BUCKET",
    "DATA_PREFIX",
    "DATA_PATH",
    "RESULT_PATH",
    "BATCH_SIZE",
    "EXEC_ARGS",
)
HIDDEN = {"messages", "script_environment"}  # a gang's secret; text that may hold a package index's password
FOR_SCRIPTS = files("inference.messages") / "for_scripts"
_NO_LIMIT_S = 3600.0  # where nobody says how long a rank may take; longer than any function lives
_NO_KEYS = re.compile("Unable to locate credentials|NoCredentialsError")
_MARGIN_S = 5.0  # left to the function to say itself that its script ran too long


def run_script(
    store: Store, event: RankEvent, wire: Mapping[str, Any], context: Any, *, cold: bool = False
) -> RankResult:
    """Run a rank's script, unless the rank is done, and take over the result that it writes.

    A rank with messages runs also where it is done, since others wait for it; if it fails, they learn of it.

    Args:
        store: the event's store.
        event: the rank; its `script` is not None.
        wire: the event as it came; the contract's keys in it are the script's environment.
        context: Lambda's; its remaining time, request id and memory limit are read, all optional.
        cold: whether this process had run no rank before.

    Raises:
        BadInput: the script is not in its folder, or has changed since the run was planned, or its interpreter is not
            here.
        BadPartition: a partition has changed since, or is gone.
        RankFailed: the script failed, ran too long or wrote no result; the message ends with its last lines.
        StoreError: the store refused.
    """
    try:
        return _run(store, event, wire, context, cold=cold)
    except CosmicError:
        if event.messages is not None:
            with suppress(CosmicError):
                say_failed(store, event.bucket, event.messages.place(event.attempt), event.rank)
        raise


def _run(store: Store, event: RankEvent, wire: Mapping[str, Any], context: Any, *, cold: bool) -> RankResult:
    script = event.script
    assert script is not None  # noqa: S101 - who calls has looked
    started_at = time.time()
    write_log(f"received: {event_for_log(wire, event)}")
    write_log("parsing args")
    done = read_result(store, event) if event.messages is None else None
    if done is not None:
        return done
    environment = environment_of(wire, TMP / script.key, event.store)
    write_log(f"executing script: {script.folder}")
    _check_data(store, event)
    listing = _listing(store, event.bucket, script)
    _remove_stale(store, event)
    apart = event.data_bucket != event.result_bucket
    stale = store.head(event.data_bucket, result_key(event.result_path, event.rank)) if apart else None
    container = Container(script.image) if script.image else None
    python = python_with(script.requirements) if script.requirements else interpreter(script.python)
    # Scripts start `python` themselves, too, and mean the one that runs them.
    environment["PATH"] = os.pathsep.join([str(Path(python).parent), environment.get("PATH", os.defpath)])
    command = [*([] if container else [python]), str(TMP / script.key), *shlex.split(script.arguments)]
    with own_scratch() as scratch:
        fetch_started = time.perf_counter()
        fetch(store, event.bucket, script.folder, listing, scratch)
        fetch_s = time.perf_counter() - fetch_started
        names = own_names(scratch, script.folder, script.key)
        environment["PYTHONPATH"] = os.pathsep.join([*names, environment["PYTHONPATH"]])
        waited = scratch / ".cosmic-waited" / str(event.rank)
        if event.messages is not None:
            waited.parent.mkdir(exist_ok=True)
            waited.unlink(missing_ok=True)
            environment |= event.messages.environment(event.bucket, event.attempt, str(waited))
        copy = scratch / script.folder
        lacks_s3 = is_needed(store, copy, environment)
        served: AbstractContextManager[dict[str, str]] = nullcontext({})
        if lacks_s3 and is_installed():
            served = loopback_s3(store, event, copy)
        with served as endpoint:
            if endpoint:
                environment = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
                environment |= endpoint
            if container:
                own = container.at_tmp(scratch, script.folder, store, EVENT_KEYS, environment)
            else:
                own = at_tmp(scratch, script.folder, [*environment.values(), python])
            with own as before:
                limit_s = time_limit(context)
                ended = run_process([*before, *command], scratch, environment, limit_s)
                ended = container.ended(ended, scratch) if container else ended
        message_wait_s = 0.0 if event.messages is None else _seconds_in(waited)
    if ended.late or ended.code:
        cause = _cause(ended, limit_s)
        if lacks_s3 and not is_installed() and _NO_KEYS.search(ended.tail):
            cause += f": {INSTALL}"
        elif lacks := lacking_module(
            ended.tail,
            python,
            function=FUNCTION in os.environ,
            made=bool(script.requirements),
            image=script.image,
        ):
            cause += f": {lacks}"
        raise RankFailed(_with_tail(cause, ended))
    try:
        result = import_external_result(
            store,
            event,
            started_at=started_at,
            ended_at=time.time(),
            request_id=str(getattr(context, "aws_request_id", "")),
            memory_limit_mb=int(getattr(context, "memory_limit_in_mb", 0)),
            cold=cold,
            worker=WORKER,
            stale=stale,
            wall_load_s=fetch_s,
            wall_compute_s=ended.wall_s,
            cpu_total_s=ended.cpu_s,
            peak_rss_mb=ended.peak_rss_mb,
            message_wait_s=message_wait_s,
        )
    except RankFailed as error:
        raise RankFailed(_with_tail(str(error), ended)) from None
    write_log("executed script")
    return result


def event_for_log(wire: Mapping[str, Any], event: RankEvent) -> dict[str, Any]:
    """The event as the log may have it: of keys that nobody knows, and that may be credentials, the names only."""
    known = {*EVENT_KEYS, *event.to_wire()} - HIDDEN
    return {name: value if name in known else "..." for name, value in wire.items()}


def environment_of(wire: Mapping[str, Any], script: Path, store: str) -> dict[str, str]:
    """The script's environment: this process's own, the contract's keys of the event, and COSMIC_STORE.

    Args:
        wire: the event; lists and numbers become JSON, any key that is not the contract's stays out.
        script: the file to run, which SCRIPT names.
        store: root of the object store.

    Raises:
        BadInput: naming a key that no environment can hold.
    """
    ours = {name: wire[name] for name in EVENT_KEYS if wire.get(name) is not None}
    ours |= {"SCRIPT": str(script), "COSMIC_STORE": store}
    environment = dict(os.environ)
    for name, value in ours.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if not _can_be_held(text):
            raise BadInput(f"{name} cannot be put into an environment: {text!r:.80}")
        environment[name] = text
    environment.setdefault("PYTHONUNBUFFERED", "1")  # the last lines of a script that is killed are worth most
    # `fmi`, and where a function's own libraries lie: its Python has them on the path
    paths = [environment.get("PYTHONPATH"), environment.get("LAMBDA_TASK_ROOT"), str(FOR_SCRIPTS)]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _can_be_held(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def time_limit(context: Any) -> float:
    """Seconds that a script may take: what the function has left, less what it needs to report."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is None:
        return _NO_LIMIT_S
    seconds = float(remaining()) / 1000
    return seconds - min(_MARGIN_S, seconds / 5)


def _seconds_in(path: Path) -> float:
    """What a script's communicators noted down (`Communicator`); 0 where they could not."""
    try:
        return sum(map(float, path.read_text().split()))
    except (OSError, ValueError):
        return 0.0


def _listing(store: Store, bucket: str, script: Script) -> list[StoredObject]:
    if script.kind == "file":
        file = store.head(bucket, script.folder)
        listing = [] if file is None else [file]
    else:
        listing = store.list(bucket, script.folder)
    if script.key not in {stored.key for stored in files_of(script.folder, listing)}:
        raise BadInput(f"SCRIPT: there is no {script.key} in {bucket}")
    if script.sha256 and script_hash(listing) != script.sha256:
        raise BadInput(f"the script folder {script.folder} has changed since the run was planned")
    return listing


def _check_data(store: Store, event: RankEvent) -> None:
    """A script reads its partitions itself; that they are the planned ones is looked up here, where a plan tells."""
    for path, etag in zip(event.data_paths, event.data_etags, strict=False):
        find_planned(store, event, path, etag)


def _remove_stale(store: Store, event: RankEvent) -> None:
    """An old result under the rank's key must not pass for this run's."""
    key = result_key(event.result_path, event.rank)
    if store.head(event.result_bucket, key) is not None:
        store.delete(event.result_bucket, [key])


def _cause(ended: Ended, limit_s: float) -> str:
    if ended.late:
        return f"the script ran longer than {round(limit_s, 1):g} s and was stopped"
    if ended.code > 0:
        return f"the script ended with exit code {ended.code}"
    name = {known.value: known.name for known in signal.Signals}.get(-ended.code, f"signal {-ended.code}")
    return f"the script was killed by {name}" + (": out of memory?" if name == "SIGKILL" else "")


def _with_tail(cause: str, ended: Ended) -> str:
    return f"{cause}; its last lines:\n{ended.tail}" if ended.tail else f"{cause}; it printed nothing"

"""What runs inside a Dask worker: a look at the worker, and a rank."""

import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from inference.errors import CosmicError
from inference.storage.store import Store
from inference.worker import LocalContext, reply_to
from tasks.executors.gpus import claim_gpu, visible_gpus

_has_gpu = False
_one_rank = threading.Lock()  # a rank measures the CPU and memory of its whole process, so a process runs one at a time


def versions() -> dict[str, str]:
    """What a worker and the machine that runs the flow must have in common.

    >>> sorted(versions())
    ['cosmic-flows', 'dask', 'distributed', 'python']
    """
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python} | {name: _version(name) for name in ("cosmic-flows", "dask", "distributed")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def call_and_send(arguments: Sequence[Any], function: Callable[..., Any], topic: str) -> str:
    """Call a function, and send the flow its value with the messages that the worker sends anyway.

    A value that only stays on the worker is fetched by a request of its own, and lost with the worker.

    Args:
        arguments: of the function.
        function: to call; its value is JSON.
        topic: of Dask's events, under which the flow hears [key of the task, value as text].

    Returns:
        The value as text, for a flow that did not hear it.
    """
    from distributed import get_worker

    worker = get_worker()
    text = json.dumps(function(*arguments))
    worker.log_event(topic, [worker.get_current_task(), text])
    return text


def forget(topic: str, dask_scheduler: Any) -> None:
    """Have a scheduler that outlives the run drop the last thousand values that it keeps of each topic."""
    dask_scheduler._broker.truncate(topic)


def describe_worker(store_root: str, bucket: str, key: str) -> dict[str, Any]:
    """What this worker is, and what it sees under one key of the store; its first rank then finds the handler loaded.

    Args:
        store_root: root of the store.
        bucket: of the key.
        key: of an object that the flow has written.

    Returns:
        `versions`, `host`, `sha256` of the object (None if it is not there), `error` in reading it or None, and
        `ends_at`, seconds since the epoch when the worker's job ends, None if it has no end.
    """
    import inference.handler  # noqa: F401 - seconds that would be measured, and billed, as the first rank's

    found, error = None, None
    try:
        if Store(store_root).head(bucket, key) is not None:
            found = hashlib.sha256(Store(store_root).read(bucket, key)).hexdigest()
    except (CosmicError, OSError) as failure:
        error = str(failure)
    return {
        "versions": versions(),
        "host": socket.gethostname(),
        "sha256": found,
        "error": error,
        "ends_at": _ends_at(),
    }


def _ends_at() -> float | None:
    """When this worker ends by itself: by its job's wall time, or by dask's `--lifetime`."""
    from distributed import get_worker
    from psutil import Process

    started = Process().create_time()
    ends = [*_end_of_slurm_job()]
    if os.environ.get("PBS_WALLTIME", "").isdigit():  # seconds of the whole job; the worker begins with it
        ends.append(started + float(os.environ["PBS_WALLTIME"]))
    lifetime = getattr(get_worker(), "lifetime", None)
    if lifetime:
        ends.append(started + float(lifetime))
    return min(ends, default=None)


def _end_of_slurm_job() -> list[float]:
    """When this worker's SLURM job ends, if it is one and SLURM says; SLURM before 23.02 sets no variable for it."""
    if os.environ.get("SLURM_JOB_END_TIME", "").isdigit():
        return [float(os.environ["SLURM_JOB_END_TIME"])]
    job = os.environ.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return []
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%e"]
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        return [datetime.fromisoformat(said.strip()).timestamp()]
    return []


def _take_own_gpu() -> None:
    """Before the first rank: of several devices that the job gave this worker and its siblings, one is its own."""
    global _has_gpu
    gpus = [] if _has_gpu else visible_gpus()
    _has_gpu = True
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = claim_gpu(gpus)


def run_rank(event: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Call the handler with one rank's event, with all threads of this worker.

    Args:
        event: a rank event on the wire.
        timeout_s: after which the flow gives the rank up.

    Returns:
        The reply of `inference.worker.reply_to`, with `seconds` that the call took.
    """
    from distributed import get_worker

    with _one_rank, redirect_stdout(sys.stderr):  # a worker of this machine shares the flow's output, which may be JSON
        _take_own_gpu()
        os.environ["COSMIC_THREADS"] = str(get_worker().state.nthreads)
        began = time.monotonic()
        reply = reply_to(event, LocalContext(limit_s=timeout_s))
        return reply | {"seconds": time.monotonic() - began}

"""The connection to a Dask scheduler, and the cluster behind it where the run starts its own."""

import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.executors.cluster_file import Cluster
from tasks.executors.dask_growth import grow

_CONNECT_S = 10.0
_CLOSE_S = 15.0


class Connection:
    """A client of the scheduler; a cluster of the run's own is started first, and ends with it.

    Args:
        spec: the scheduler's address, or the cluster to start.
        demand: how many workers there should be now; asked once a second where the cluster is adaptive.

    Raises:
        BadInput: nobody answers at the address, or the cluster does not start.
    """

    def __init__(self, spec: Cluster, demand: Callable[[], int] = lambda: 0) -> None:
        import dask
        from distributed import Client

        # A rank that dies with its worker comes back at once: to run it again is the dispatcher's decision.
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.admin.log-format": "%(message)s"})
        self._cluster: Any = None
        self._ended = threading.Event()
        if spec.scheduler is None:
            self._cluster = spec.started()
            if spec.adapt_kwargs:
                grow(self._cluster, spec.adapt_kwargs, demand, self._ended)
        try:
            target = spec.scheduler if self._cluster is None else self._cluster
            self._client = Client(target, timeout=_CONNECT_S, set_as_default=False, name="cosmic-flows")
        except (OSError, TimeoutError, ValueError, ImportError) as error:
            self._close_cluster()
            reason = shorten(str(error), 160)
            raise BadInput(f"cluster: no Dask scheduler answers at {shorten(str(target), 120)} ({reason})") from None

    def workers(self) -> Mapping[str, Mapping[str, Any]]:
        """{address: facts} of the workers there are."""
        found: Mapping[str, Mapping[str, Any]] = self._client.scheduler_info(n_workers=-1)["workers"]
        return found

    def send(self, function: Callable[..., Any], calls: Sequence[tuple[Sequence[Any], str]], kind: str) -> list[Any]:
        """Run a function once for each call, in one message to the scheduler.

        Args:
            function: to run.
            calls: its arguments and the worker that runs it.
            kind: of call, in its name.

        Returns:
            Dask's futures, in order.
        """
        import dask

        if not calls:
            return []
        keys = [f"cosmic-{kind}-{uuid.uuid4().hex}" for _ in calls]
        place = {key: worker for key, (_, worker) in zip(keys, calls, strict=True)}
        columns = list(zip(*(arguments for arguments, _ in calls), strict=True))
        with dask.annotate(workers=place.__getitem__, allow_other_workers=False):
            return list(self._client.map(function, *columns, key=keys, pure=False, retries=0))

    def gather(self, futures: Sequence[Any]) -> list[Any]:
        """The values of futures that are finished, in one request; None where a value was lost with its worker."""
        try:
            return list(self._client.gather(list(futures)))
        except Exception:  # noqa: BLE001 - a worker may die between the end of its task and this request
            return [self._value(future) for future in futures]

    def _value(self, future: Any) -> Any:
        with suppress(Exception):
            return future.result(timeout=5)
        return None

    def restart(self, workers: Sequence[str]) -> None:
        """Have the nannies of these workers start them anew, without waiting for it."""
        threading.Thread(target=self._restart, args=(list(workers),), name="cosmic-dask-restart", daemon=True).start()

    def _restart(self, workers: list[str]) -> None:
        with suppress(Exception):  # a worker without a nanny finishes what it has begun
            self._client.restart_workers(workers, timeout=_CLOSE_S, raise_for_error=False)

    def why_no_worker(self) -> str | None:
        """What the batch system says of jobs that do not start, as a clause."""
        jobs = [
            str(job.job_id) for job in getattr(self._cluster, "workers", {}).values() if getattr(job, "job_id", None)
        ]
        if not jobs:
            return None
        with suppress(OSError, subprocess.SubprocessError):
            found = subprocess.run(
                ["squeue", "--noheader", "--jobs", ",".join(jobs), "--format", "%T (%r)"],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
            states = sorted(set(filter(None, map(str.strip, found.stdout.splitlines()))))
            return f"the batch system has job {', '.join(jobs[:5])}: {', '.join(states) or 'ended'}"
        return f"job {', '.join(jobs[:5])} of the batch system has brought none"

    def close(self, busy: Sequence[str] = ()) -> None:
        """Disconnect and end the run's own cluster; elsewhere, restart workers whose ranks nobody waits for."""
        if self._cluster is None and busy:
            self._restart(list(busy))
        with suppress(Exception):
            self._client.close(timeout=_CLOSE_S)
        self._close_cluster()

    def _close_cluster(self) -> None:
        self._ended.set()
        if self._cluster is not None:
            with suppress(Exception):
                self._cluster.close(timeout=_CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""The connection to a Dask scheduler, and the cluster behind it where the run starts its own."""

import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from inference.contract.json_text import parse_json
from inference.contract.validation import shorten
from inference.errors import BadInput, RankFailed
from tasks.executors.cluster_file import Cluster
from tasks.executors.dask_growth import grow
from tasks.executors.dask_tasks import call_and_send, forget

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
        except Exception as error:  # noqa: BLE001 - of a protocol's own: TypeError without TLS keys or UCX, and more
            self._close_cluster()
            reason = shorten(str(error) or repr(error), 160)
            if str(target).startswith(("tls://", "wss://")):
                reason += "; keys of TLS are Dask's own settings, distributed.comm.tls.client and .ca-file"
            raise BadInput(f"cluster: no Dask scheduler answers at {shorten(str(target), 120)} ({reason})") from None
        self._values: dict[str, str] = {}  # by a future's key: its value as JSON, which comes before its end
        self._topic = f"cosmic-{uuid.uuid4().hex}"
        self._listen()

    def _listen(self) -> None:
        self._client.subscribe_topic(self._topic, self._hear)

    def _hear(self, event: tuple[float, Sequence[str]]) -> None:
        _, (key, text) = event
        self._values[key] = text

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
        arguments = [arguments for arguments, _ in calls]
        with dask.annotate(workers=place.__getitem__, allow_other_workers=False):
            return list(
                self._client.map(
                    call_and_send, arguments, key=keys, pure=False, retries=0, function=function, topic=self._topic
                )
            )

    def value(self, future: Any) -> Any:
        """What a future's function returned, even if its worker is lost by now; None where it was lost before.

        A scheduler that was away forgets who listens: the value is then asked for, and the next are heard again.

        Raises:
            RankFailed: the value is no document.
        """
        text = self._values.pop(future.key, None)
        if text is None and future.status == "finished":
            self._listen()
            with suppress(Exception):  # its worker may die between the end of the task and this request
                text = future.result(timeout=5)
        return None if text is None else parse_json(text, "the worker's reply", RankFailed)

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
            if self._cluster is None:
                self._client.run_on_scheduler(forget, self._topic)
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

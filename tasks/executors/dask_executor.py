"""Ranks on a Dask cluster: one rank at a time on each worker process, placed from here.

Dask moves events and replies, starts workers and sees them die; which rank runs where and again stays with the
project's own dispatcher (docs/decisions/0022-clusters.md). All state belongs to one thread, which takes what arrived,
looks at the workers once a second, and hands a rank to each that is free.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.contract.validation import shorten
from inference.errors import BadInput, RankFailed
from inference.storage.store import Store
from tasks.executors.base import RUN_ENDED, Call, Executor, NothingRan, measured, read_reply
from tasks.executors.cluster_file import Cluster, needs_dask
from tasks.executors.dask_connection import Connection
from tasks.executors.dask_tasks import describe_worker, run_rank, versions
from tasks.executors.dask_workers import Worker, Workers, reason_to_refuse, why_it_failed
from tasks.invocations.invocation import Invocation

_LOOK_S = 1.0  # between two looks at the scheduler's list of workers
_FIRST_WORKER_S = 20.0  # how long the start of a run waits for a worker's answer; ranks wait longer
_MOST_RESENDS = 5  # of a rank whose workers' jobs end under it
_NEAR_END_S = 30.0  # a worker lost so shortly before its job's end was lost by it


@dataclass
class _Placed:
    """A rank on a worker."""

    call: Call
    worker: str
    threads: int
    started_at: float
    ends_at: float | None


class DaskExecutor(Executor):
    """Workers of a Dask cluster, each calling the same `lambda_handler`.

    Args:
        cluster: where they are; None starts a LocalCluster.
        workers: processes of that LocalCluster.
        request: says where the run's payload.json lies, its `rank_timeout` and `max_concurrency`.
        store_root: root of the store, which workers must see under the same name.
    """

    name = "dask"
    elastic = True

    def __init__(self, cluster: Cluster | None, workers: int, request: RunRequest, store_root: str) -> None:
        local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
        self._cluster = cluster or Cluster(cluster_class="distributed.LocalCluster", cluster_kwargs=local)
        self._request, self._store_root = request, store_root
        self.memory_mb = request.memory_mb
        self._most = min(request.max_concurrency or 10_000, self._cluster.most_workers or 10_000)
        self._workers = Workers()
        self._able = 0
        self._pending: deque[Call] = deque()
        self._placed: dict[Any, _Placed] = {}  # by Dask's future
        self._looks: dict[Any, Worker] = {}  # by Dask's future of the look at a worker
        self._resent: dict[int, int] = {}  # ranks cut off by the end of a job, and how often
        self._cut_off: list[Invocation] = []
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._answered = threading.Event()  # a first worker may take ranks, or all were refused
        self._stopped = False
        self._connection: Connection | None = None
        self._closing: threading.Thread | None = None
        self._idle_since = time.monotonic()

    @property
    def concurrency(self) -> int:  # type: ignore[override]
        """As many ranks as there are workers; as many as there may ever be, where the cluster grows with the demand."""
        able = self._most if self._cluster.adapt_kwargs else self._able
        return max(min(able, self._most), 1)

    def check(self) -> None:
        """Look whether the scheduler answers, or whether its cluster could be started.

        Raises:
            BadInput: Dask is missing, nobody answers at the address, or the class does not exist or refuses its
                arguments.
        """
        needs_dask()
        if self._cluster.scheduler is not None:
            with Connection(self._cluster) as found:
                self._able = len(found.workers())
        else:
            self._cluster.check(submits=True)
            self._able = self._cluster.most_workers or 1

    def start(self) -> None:
        """Connect, start the cluster if it is the run's own, and wait shortly for a first worker.

        Raises:
            BadInput: the cluster does not start, or every worker must be refused.
        """
        self._payload = f"{self._request.result_path}/payload.json"
        data = Store(self._store_root).read(self._request.bucket, self._payload)
        self._sha256 = hashlib.sha256(data).hexdigest()
        self._connection = Connection(self._cluster, self._demand)
        self._idle_since = time.monotonic()
        threading.Thread(target=self._serve, name="cosmic-dask", daemon=True).start()
        if not self._cluster.adapt_kwargs:  # which has no worker before it has a rank
            self._answered.wait(_FIRST_WORKER_S)
        if refusal := self._workers.why_none():
            raise BadInput(f"cluster: {refusal}")

    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Give each rank to the next worker that is free."""
        calls = [Call(event) for event in events]
        for call in calls:
            self._inbox.put(call)
        return calls

    def stop(self) -> None:
        """Disconnect; a cluster of the run's own ends, and elsewhere the workers of open ranks are restarted."""
        if self._stopped or self._connection is None:
            return
        self._stopped = True
        self._inbox.put(None)
        busy = [each.worker for each in list(self._placed.values())]
        # No daemon: jobs of a batch system must be gone before the program is.
        self._closing = threading.Thread(target=self._connection.close, args=(busy,), name="cosmic-dask-close")
        self._closing.start()

    def settle(self, invocations: Sequence[Invocation]) -> list[Invocation]:
        """Add the ranks that were cut off by the end of their worker's job, and wait until the cluster is closed."""
        if self._closing is not None:
            self._closing.join(60.0)
        cut_off, self._cut_off = self._cut_off, []
        return [*invocations, *cut_off]

    def facts(self) -> dict[str, Any]:
        """The cluster, and what of it was allocated and used."""
        kind = self._cluster.cluster_class or self._cluster.scheduler
        return {"cluster": {"kind": kind} | self._workers.usage(self._cluster.usd_per_core_hour)}

    def _demand(self) -> int:
        """How many workers an adaptive cluster should have now."""
        return len(self._pending) + len(self._placed)

    def _serve(self) -> None:
        looked_at = 0.0
        while not self._stopped:
            try:
                self._take()
                if time.monotonic() - looked_at >= _LOOK_S:
                    looked_at = time.monotonic()
                    self._look_at_workers()
                    self._end_late_ranks()
                self._place()
            except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for the ranks must hear of it
                self._lose_everything(f"the connection to Dask failed: {shorten(str(error) or repr(error), 200)}")
        self._end_open_calls()

    def _end_open_calls(self) -> None:
        with suppress(Empty):
            while True:
                if isinstance(arrived := self._inbox.get_nowait(), Call):
                    self._pending.append(arrived)
        for placed in self._placed.values():
            _resolve(placed.call, self._failed(placed, RUN_ENDED))
        self._refuse_pending(RUN_ENDED)

    def _take(self) -> None:
        """Take what arrived: calls that are to run, and Dask's futures that ended."""
        ended: list[Any] = []
        try:
            arrived = self._inbox.get(timeout=0.2)
            while True:
                if isinstance(arrived, Call):
                    self._pending.append(arrived)
                elif arrived is not None:
                    ended.append(arrived)
                arrived = self._inbox.get_nowait()
        except Empty:
            pass
        for future in ended:
            self._end(future, *self._outcome(future))

    def _outcome(self, future: Any) -> tuple[Any, str]:
        """The value of a future that has ended, or None and why it has none."""
        assert self._connection is not None  # noqa: S101 - since start
        try:
            if (value := self._connection.value(future)) is not None:
                return value, ""
        except RankFailed as error:
            return None, str(error)
        match future.status:
            case "error":
                return None, why_it_failed(future.exception(timeout=10))
            case "cancelled":
                return None, RUN_ENDED
        return None, "its reply was lost with its worker"

    def _end(self, future: Any, reply: Mapping[str, Any] | None, error: str | None) -> None:
        if (worker := self._looks.pop(future, None)) is not None:
            self._take_look(worker, reply, error)
        elif (placed := self._placed.pop(future, None)) is not None:
            if reply is not None:
                try:
                    self._answer(placed, reply)
                except Exception as defect:  # noqa: BLE001 - a call that nobody resolves would hold up its run
                    self._fail(placed, shorten(repr(defect), 300))
            else:
                if (lost := self._workers.known.get(placed.worker)) is not None:
                    lost.status = "lost"  # until the next look at the workers
                if self._cut_off_by_its_job(placed, str(error)):
                    self._pending.appendleft(placed.call)
                else:
                    self._fail(placed, str(error))
        future.release()

    def _answer(self, placed: _Placed, reply: Mapping[str, Any]) -> None:
        result, error, final = read_reply(reply, placed.call.event)
        seconds = float(reply.get("seconds", 0.0))
        worker = self._workers.known.get(placed.worker)
        self._workers.note_rank(worker, placed.threads, seconds, None if result is None else result.peak_rss_mb)
        call = measured(
            placed.call.event,
            placed.started_at,
            time.time(),
            self.memory_mb,
            result,
            error,
            duration_s=seconds,
            billed_s=seconds,
            request_id=str(reply.get("request_id", "")),
            worker=placed.worker,
            retryable=not final,
        )
        _resolve(placed.call, call)

    def _fail(self, placed: _Placed, error: str) -> None:
        self._workers.note_rank(None, placed.threads, time.time() - placed.started_at, None)
        _resolve(placed.call, self._failed(placed, error))

    def _failed(self, placed: _Placed, error: str) -> Invocation:
        event = placed.call.event
        return measured(event, placed.started_at, time.time(), self.memory_mb, error=error, worker=placed.worker)

    def _cut_off_by_its_job(self, placed: _Placed, error: str) -> bool:
        """Whether a rank was lost with its worker's job, whose time was up; it runs again and loses no attempt."""
        if placed.ends_at is None or time.time() < placed.ends_at - _NEAR_END_S:
            return False
        rank = placed.call.event.rank
        self._resent[rank] = self._resent.get(rank, 0) + 1
        if self._resent[rank] > _MOST_RESENDS:
            return False
        self._cut_off.append(self._failed(placed, f"its worker's job ended, and it ran again: {error}"))
        self._workers.note_rank(None, placed.threads, time.time() - placed.started_at, None)
        placed.call.sent_at = None
        return True

    def _look_at_workers(self) -> None:
        assert self._connection is not None  # noqa: S101 - since start
        fresh, gone = self._workers.update(self._connection.workers())
        where = (self._store_root, self._request.bucket, self._payload)
        looks = self._connection.send(describe_worker, [(where, worker.address) for worker in fresh], "look")
        for future, worker in zip(looks, fresh, strict=True):
            self._looks[future] = worker
            future.add_done_callback(self._inbox.put)
        lost = {worker.address for worker in gone}
        for future, placed in list(self._placed.items()):
            if placed.worker in lost and future.status == "pending":
                reply, _ = self._outcome(future)
                self._end(future, reply, f"its worker {placed.worker} was lost")
        self._able = len(self._workers.able())
        if self._able or self._placed or not self._pending:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > self._cluster.wait_for_workers:
            self._give_up()

    def _take_look(self, worker: Worker, found: Mapping[str, Any] | None, error: str | None) -> None:
        if found is None:
            worker.refused = error
        else:
            place = f"{self._request.bucket}/{self._payload} in {self._store_root}"
            worker.host, worker.ends_at = found["host"], found["ends_at"]
            worker.refused = reason_to_refuse(found, versions(), self._sha256, place)
        worker.ready = True
        self._able = len(self._workers.able())
        if self._able or self._workers.why_none():
            self._answered.set()

    def _place(self) -> None:
        """Hand a waiting rank to each worker that is free; the least used first."""
        if not self._pending or self._connection is None:
            return
        taken = {placed.worker for placed in self._placed.values()}
        free = [worker for worker in self._workers.able() if worker.address not in taken]
        chosen = list(zip(self._pending, free[: max(self._most - len(taken), 0)], strict=False))
        limit = self._request.rank_timeout
        sent = [((call.event.to_wire(), limit), worker.address) for call, worker in chosen]
        for future, (call, worker) in zip(self._connection.send(run_rank, sent, "rank"), chosen, strict=True):
            self._pending.popleft()
            call.sent_at = time.monotonic()
            self._placed[future] = _Placed(call, worker.address, worker.threads, time.time(), worker.ends_at)
            future.add_done_callback(self._inbox.put)

    def _end_late_ranks(self) -> None:
        """Stop ranks that outlast their time limit: Dask cannot, so their worker processes are restarted."""
        assert self._connection is not None  # noqa: S101 - since start
        limit = self._request.rank_timeout
        for future, placed in list(self._placed.items()):
            if placed.call.sent_at is not None and time.monotonic() - placed.call.sent_at > limit:
                del self._placed[future]
                self._fail(placed, f"the rank took longer than {limit:g} s (rank_timeout)")
                if (worker := self._workers.known.get(placed.worker)) is not None:
                    worker.refused = "it is being restarted, because a rank outlasted its time limit"
                self._connection.restart([placed.worker])

    def _give_up(self) -> None:
        """No worker has come, or may take a rank, for as long as the user is willing to wait."""
        waited = f"{self._cluster.wait_for_workers:g} s (wait_for_workers)"
        reasons = next(self._workers.refusals(), None) or (self._connection and self._connection.why_no_worker())
        why = f"no worker of the cluster took a rank within {waited}"
        self._refuse_pending(f"{why}: {reasons}" if reasons else why)

    def _lose_everything(self, why: str) -> None:
        if self._stopped:
            return
        placed, self._placed = list(self._placed.values()), {}
        for each in placed:
            self._fail(each, why)
        self._refuse_pending(why)
        time.sleep(_LOOK_S)  # before the next try

    def _refuse_pending(self, why: str) -> None:
        pending, self._pending = list(self._pending), deque()
        for call in pending:
            with suppress(Exception):  # resolved by a stop meanwhile
                call.set_exception(NothingRan(why))


def _resolve(call: Call, invocation: Invocation) -> None:
    if not call.done():
        call.set_result(invocation)

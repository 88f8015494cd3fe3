"""Ranks on this machine: a pool of worker processes, or none at all for a debugger."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from inference.contract.json_text import parse_json
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import MEMORY_MB
from inference.errors import RankFailed
from inference.storage.temporary import shared_folder
from inference.worker import reply_to
from tasks.executors.base import RUN_ENDED, Call, Executor, NothingRan, cores, measured, read_reply
from tasks.executors.threads import DaemonThreads
from tasks.invocations.invocation import Invocation


class LocalExecutor(Executor):
    """A pool of warm worker processes, each calling the same `lambda_handler`.

    Threads are divided among the workers; each has a scratch folder of its own, removed at the end. A worker that dies
    or outlasts the rank's time limit fails its rank's attempt, and another takes its place.

    Args:
        workers: processes; 0 runs every rank in this process, one after the other. Default: one a core.
        timeout_s: seconds after which a rank is stopped; not enforced with 0 workers.
        memory_mb: of the Lambda function whose bill is estimated.
        command: starts a worker that speaks as `inference.worker` does.
        gpus: names of CUDA devices, each worker seeing one; none leaves the workers what they find.
    """

    name = "local"

    def __init__(
        self,
        workers: int | None = None,
        timeout_s: float = 900.0,
        memory_mb: int = MEMORY_MB,
        command: Sequence[str] = (sys.executable, "-m", "inference.worker"),
        gpus: Sequence[str] = (),
    ) -> None:
        there = cores()
        self.workers = there if workers is None else workers
        self.concurrency = max(self.workers, 1)
        self.in_process = self.workers == 0
        self.memory_mb = memory_mb
        self._cores_each = max(there // self.concurrency, 1)
        self._timeout_s = timeout_s
        self._command = list(command)
        self._gpus = list(gpus)
        self._threads = DaemonThreads(self.concurrency)  # each waits for one worker
        self._starting = threading.Lock()
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._alive: set[_Worker] = set()
        self._stopped = False

    def facts(self) -> dict[str, Any]:
        """How many workers there were."""
        return {"workers": self.workers}

    def start(self) -> None:
        """Make the scratch folder; workers start with the first ranks. If this process is killed, they remove it."""
        self._scratch = shared_folder()

    def stop(self) -> None:
        """Kill the workers and remove the scratch folder."""
        with self._starting:
            self._stopped = True
        for worker in list(self._alive):
            worker.stop()
        self._threads.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Run ranks on the next free workers, or here and now with 0 workers."""
        calls = [Call(event) for event in events]
        for call in calls:
            if self.in_process:
                call.set_result(self._run_here(call.event))
            else:
                self._threads.submit(call, self._run_on_next_worker)
        return calls

    def _run_on_next_worker(self, call: Call) -> Invocation:
        try:
            worker = self._idle.get_nowait()
        except Empty:
            worker = self._start_worker()
        try:
            return self._run_on(worker, call.event)
        finally:
            if worker in self._alive:
                self._idle.put(worker)

    def _start_worker(self) -> "_Worker":
        with self._starting:
            if self._stopped:
                raise NothingRan(RUN_ENDED)
            taken = [worker.gpu for worker in self._alive]
            gpu = min(self._gpus, key=taken.count, default=None)
            worker = _Worker(self._command, self._scratch, self._cores_each, self._timeout_s, gpu)
            self._alive.add(worker)
        return worker

    def _run_on(self, worker: "_Worker", event: RankEvent) -> Invocation:
        started = time.time()
        try:
            reply = worker.ask(event.to_wire(), self._timeout_s)
        except RankFailed as death:
            self._alive.discard(worker)
            worker.stop()
            reply = {"errorType": "RankFailed", "errorMessage": RUN_ENDED if self._stopped else str(death)}
        return self._invocation(event, reply, started, worker.take_start_up_s(), worker.name)

    def _run_here(self, event: RankEvent) -> Invocation:
        started = time.time()
        return self._invocation(event, reply_to(event.to_wire()), started, 0.0, "this process")

    def _invocation(
        self, event: RankEvent, reply: Mapping[str, Any], started: float, init_s: float, worker: str
    ) -> Invocation:
        ended = time.time()
        result, error, final = read_reply(reply, event)
        return measured(
            event,
            started,
            ended,
            self.memory_mb,
            result,
            error,
            duration_s=max(ended - started - init_s, 0.0),
            init_s=init_s,
            cold=result.cold if result else init_s > 0,
            request_id=str(reply.get("request_id", "")),
            worker=worker,
            retryable=not final,
        )


class _Worker:
    """One process of the pool: events go in as JSON lines, replies come back the same way."""

    def __init__(
        self, command: list[str], scratch: Path, threads: int, timeout_s: float, gpu: str | None = None
    ) -> None:
        self.gpu = gpu
        self._started = time.time()
        self._folder = Path(tempfile.mkdtemp(dir=scratch, prefix="worker-"))
        limits = dict.fromkeys(
            ("COSMIC_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
            str(threads),
        ) | {"COSMIC_RANK_TIMEOUT": str(timeout_s)}
        if gpu is not None:
            limits["CUDA_VISIBLE_DEVICES"] = gpu
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | limits | {"TMPDIR": str(self._folder), "COSMIC_SCRATCH": str(self._folder)},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        self.name = f"pid {self._process.pid}"
        self._start_up_s: float | None = None

    def ask(self, event: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one event and wait for the reply.

        Raises:
            RankFailed: the process died, answered no JSON, or took longer than `timeout_s`.
        """
        late = threading.Event()

        def expire() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, expire)
        timer.start()
        try:
            if self._start_up_s is None:
                self._read()
                self._start_up_s = time.time() - self._started
            self._write(event)
            return self._read()
        except ValueError:
            raise RankFailed("the worker process answered something that is not a JSON object") from None
        except (OSError, EOFError):
            if late.is_set():
                raise RankFailed(f"the rank took longer than {timeout_s:g} s (rank_timeout)") from None
            raise RankFailed(self._cause_of_death()) from None
        finally:
            timer.cancel()

    def _write(self, document: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        line = self._process.stdout.readline()
        if not line:
            raise EOFError
        document = parse_json(line, "the worker's reply", RankFailed)
        if not isinstance(document, dict):
            raise ValueError
        return document

    def _cause_of_death(self) -> str:
        code = self._process.wait(timeout=60)
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"the worker process was killed by {name}" + (": out of memory?" if name == "SIGKILL" else "")

    def take_start_up_s(self) -> float:
        """Seconds from the process's start to its being ready; 0 from the second time on."""
        seconds, self._start_up_s = self._start_up_s or 0.0, 0.0
        return seconds

    def stop(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # an event that a dead process did not take is still in there
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

"""Ranks on Dask against Dask alone: 200 worker slots of one scheduler, ranks that only wait, on the same cores.

10,000 ranks of one second against the ideal and against a bare `client.map` of the same waits; 1,000 empty ranks, their
results in the ledger, against `client.gather`. The dispatcher is the run's own; Prefect is not part of it.
"""

import threading
import time
from dataclasses import asdict, replace
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from benchmarks.parts.fanout_client import events_of
from benchmarks.ratio import Target, quartiles
from benchmarks.support.dask_slots import slots, wait_rank
from inference.contract.rank_event import RankEvent
from inference.contract.run_request import RunRequest
from inference.storage.store import Store
from tasks.dispatch.dispatcher import Dispatcher
from tasks.executors.cluster_file import Cluster
from tasks.executors.dask_executor import DaskExecutor
from tasks.invocations.ledger import Ledger

SLOTS, RANKS, EMPTY, TURNS = 200, 10_000, 1_000, 3


def _result(reply: Any, event: RankEvent) -> tuple[None, str, bool]:
    """The waits have no result of a rank to check; what is entered is a call that ended."""
    assert reply["rank"] == event.rank
    return None, "waited", True


def _ours(address: str, events: list[RankEvent], root: str) -> float:
    request = RunRequest.read(
        {
            "bucket": "bench-bucket",
            "data_bucket": "bench-bucket",
            "data_prefix": "none",
            "result_path": "results/bench",
            "file_limit": len(events),
            "batch_size": 1,
        }
    )
    Store(root).write(request.bucket, f"{request.result_path}/payload.json", b"{}")
    ledger = Ledger()
    with (
        mock.patch("tasks.executors.dask_executor.run_rank", wait_rank),
        mock.patch("tasks.executors.dask_executor.read_reply", _result),
    ):
        executor = DaskExecutor(Cluster(scheduler=address), 1, request, root)
        executor.check()
        dispatcher = Dispatcher(executor, ledger, events)
        with dispatcher:
            while executor.concurrency < SLOTS:  # the workers have been looked at
                time.sleep(0.01)
            began = time.perf_counter()
            run = threading.Thread(target=dispatcher.run, args=(events,), daemon=True)
            run.start()
            dispatcher.serve(lambda: not run.is_alive())
            seconds = time.perf_counter() - began
        executor.settle([])
    assert len(ledger.invocations) == len(events)
    return seconds


def _bare(address: str, events: list[RankEvent]) -> float:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        began = time.perf_counter()
        futures = client.map(wait_rank, [event.to_wire() for event in events], timeout_s=1.0, pure=False)
        replies = client.gather(futures)
        seconds = time.perf_counter() - began
        assert len(replies) == len(events)
    return seconds


def measure() -> dict[str, Any]:
    """The rows of the table."""
    waits = [replace(event, batch_size=1000) for event in events_of(RANKS)]
    empty = [replace(event, batch_size=1) for event in events_of(EMPTY)]
    with TemporaryDirectory(prefix="cosmic-bench-") as root, slots(SLOTS) as address:
        _bare(address, empty)  # every worker has been used once
        quick = [(_ours(address, empty, root), _bare(address, empty)) for _ in range(TURNS)]
        slow = [(_ours(address, waits, root), _bare(address, waits)) for _ in range(2)]
    ideal = RANKS / SLOTS
    least = f"{ideal:g} s, if only ranks took time"
    what = f"{RANKS:,} ranks of 1 s on {SLOTS} workers of one Dask scheduler"
    ours, bare = slow[-1]

    def target(what: str, ratios: list[float], to_reach: float, ours: str, other: str) -> Target:
        return Target(what=what, **quartiles(ratios), to_reach=to_reach, higher_is_better=False, ours=ours, other=other)

    targets = [
        target(what, [mine / ideal for mine, _ in slow], 1.15, f"{ours:.1f} s", least),
        target(
            f"{what}: dispatch",
            [mine / theirs for mine, theirs in slow],
            1.2,
            f"{ours:.1f} s",
            f"{bare:.1f} s, client.map",
        ),
        target(
            f"{EMPTY:,} empty ranks, results in the ledger",
            [mine / theirs for mine, theirs in quick],
            1.5,
            f"{quick[-1][0]:.2f} s",
            f"{quick[-1][1]:.2f} s, client.map and client.gather",
        ),
    ]
    return {
        "what": f"ranks that only wait on {SLOTS} workers, which share two processes; wall-clock seconds from the first"
        " rank's dispatch to the last in the ledger, in turns with a bare client.map in the same process",
        "rows": [{"what": "wait", "ours_s": mine, "bare_s": theirs} for mine, theirs in [*quick, *slow]],
        "targets": [asdict(each) for each in targets],
    }

"""Messages among ranks: allreduce of 8 bytes and of 1 MB over each way of messages, 2 to 64 ranks on this machine.

Each rank is a process. The published figures beside it are of AWS Lambda: about 13 ms for an allreduce of 32 ranks, and
in the cost model of the FaaS Message Interface (Copik et al., ICS 2023) 5.2 ms a message over Redis and 40 ms over S3.
The S3 here is a stub that takes 20 ms for an answer to begin; a message is one PUT and one or more GETs.
"""

import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ratio import NotHere, Target, quartiles
from benchmarks.support.slow_s3 import slow_store
from inference.contract.messages import Meeting
from inference.messages.communicator import Communicator
from inference.messages.values import datatypes, func, op, types
from inference.storage.store import S3_ROOT

RANKS = tuple(int(each) for each in os.environ.get("COSMIC_FMI_RANKS", "2,4,8,16,32,64").split(","))
SIZES = {"8 B": 1, "1 MB": 125_000}  # doubles
REPEATS = {"tcp": 15, "redis": 15, "store, a folder": 7, "store, S3 of 20 ms": 3}
PUBLISHED_ALLREDUCE_S, PUBLISHED_REDIS_S, PUBLISHED_S3_S = 13e-3, 5.2e-3, 40e-3
S3_LATENCY_S = 0.02


def _rank(rank: int, ranks: int, meeting: Meeting, repeats: int, answers: Any) -> None:
    comm = Communicator(rank, ranks, "", "bench", meeting=meeting)
    add, found = func(op.sum), {}
    for size, length in SIZES.items():
        kind, value, seconds = types(datatypes.double_list, length), [1.0] * length, []
        for _ in range(1 + (repeats if length == 1 else 3)):
            comm.barrier()
            began = time.perf_counter()
            total = comm.allreduce(value, add, kind)
            seconds.append(time.perf_counter() - began)
            assert total[-1] == ranks
        found[size] = seconds[1:]  # the first one connects
    if rank == 0:
        answers.put(found)
    comm.barrier()


def _gang(ranks: int, meeting: Meeting, repeats: int) -> dict[str, list[float]]:
    """Seconds of each allreduce, on rank 0, by size."""
    forked = multiprocessing.get_context("fork")
    answers = forked.SimpleQueue()
    processes = [
        forked.Process(target=_rank, args=(rank, ranks, meeting, repeats, answers), daemon=True)
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = [number for number, process in enumerate(processes) if process.exitcode]
    if failed:
        raise RuntimeError(f"ranks {failed} of {ranks} failed over {meeting.through}")
    found: dict[str, list[float]] = answers.get()
    return found


@contextmanager
def _redis() -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise NotHere("there is no redis-server: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        try:
            time.sleep(0.5)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()


def measure() -> dict[str, Any]:
    """The rows of the table: medians of rank 0's times, and ratios to what was published."""
    rows: list[dict[str, Any]] = []
    times: dict[tuple[str, int, str], list[float]] = {}
    with TemporaryDirectory(prefix="cosmic-bench-") as folder, _redis() as redis:
        root = Path(folder)
        (root / "bench-bucket").mkdir()
        for way, repeats in REPEATS.items():
            on_s3 = "S3" in way
            through = {"tcp": "tcp", "redis": redis}.get(way, "store")
            with slow_store(root, float("inf"), S3_LATENCY_S) if on_s3 else nullcontext():
                for ranks in RANKS:
                    meeting = Meeting(
                        through=through,
                        store=S3_ROOT if on_s3 else folder,
                        bucket="bench-bucket",
                        folder=uuid.uuid4().hex,
                    )
                    for size, seconds in _gang(ranks, meeting, repeats).items():
                        times[way, ranks, size] = seconds
                        median = statistics.median(seconds)
                        rows.append(
                            {"way": way, "ranks": ranks, "size": size, "median_s": median, "most_s": max(seconds)}
                        )
                        print(rows[-1], flush=True)

    def target(what: str, seconds: list[float], published_s: float, of: str) -> Target:
        return Target(
            what=what,
            **quartiles([each / published_s for each in seconds]),
            to_reach=1.0,
            higher_is_better=False,
            ours=f"{1e3 * statistics.median(seconds):.2f} ms on this machine",
            other=f"{1e3 * published_s:g} ms on AWS, {of}",
        )

    targets = [
        target(f"allreduce of 8 B, 32 ranks, {way}", times[way, 32, "8 B"], PUBLISHED_ALLREDUCE_S, "published")
        for way in ("tcp", "redis")
        if (way, 32, "8 B") in times
    ]
    for way, published_s in (("redis", PUBLISHED_REDIS_S), ("store, S3 of 20 ms", PUBLISHED_S3_S)):
        if (way, 2, "8 B") in times:
            half = [
                each / 2 for each in times[way, 2, "8 B"]
            ]  # an allreduce of two ranks is a message there and one back
            targets.append(target(f"a message of 8 B, {way}", half, published_s, "FMI's cost model"))
    return {
        "what": f"allreduce of doubles, each rank a process of one machine; seconds on rank 0 after a barrier, medians"
        f" of {REPEATS} repeats, of 3 for 1 MB; Redis on the same machine; S3 a stub whose answers begin after 20 ms",
        "rows": rows,
        "targets": [asdict(each) for each in targets],
    }

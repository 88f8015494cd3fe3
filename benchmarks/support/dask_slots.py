"""A Dask scheduler with many worker slots on few cores, for ranks that only wait: workers share processes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

PROCESSES = 2
# Each worker samples its ranks' stacks a hundred times a second and asks /proc for the machine's load twice. Workers
# of a cluster have processors for that; 200 in two processes would do little else, for `client.map` as for us.
_QUIET = {
    "DASK_LOGGING__DISTRIBUTED": "warning",  # each worker has a dozen lines to say of itself
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
}


@contextmanager
def slots(number: int) -> Iterator[str]:
    """So many workers of one thread each, in two processes beside the scheduler's; yields the scheduler's address."""
    command = [sys.executable, "-m", "benchmarks.support.dask_slots"]
    with ExitStack() as stack:
        scheduler = stack.enter_context(_process([*command, "scheduler"]))
        address = scheduler.stdout.readline().strip()
        share = number // PROCESSES
        for _ in range(PROCESSES):
            stack.enter_context(_process([*command, "workers", address, str(share)])).stdout.readline()
        yield address


@contextmanager
def _process(command: list[str]) -> Iterator[Any]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | _QUIET)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_rank(event: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """A rank that only waits, for as many milliseconds as its batch size says; its reply is the event's own rank."""
    seconds = event["BATCH_SIZE"] / 1000
    time.sleep(seconds)
    return {"rank": int(event["RANK"]), "seconds": seconds}


async def _scheduler() -> None:
    from distributed import Scheduler

    async with Scheduler(port=0, dashboard_address=":0", host="127.0.0.1") as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()


async def _workers(address: str, number: int) -> None:
    from distributed import Worker

    workers = [Worker(address, nthreads=1, dashboard_address=":0", memory_limit=0) for _ in range(number)]
    await asyncio.gather(*(worker.start() for worker in workers))
    print("ready", flush=True)
    await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    asyncio.run(_scheduler() if sys.argv[1] == "scheduler" else _workers(sys.argv[2], int(sys.argv[3])))

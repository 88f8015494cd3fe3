"""The engines that a user would pick instead: each calls the same handler for each event, on so many processes.

`python -m benchmarks.support.peer_engines ENGINE EVENTS.json WORKERS` ends when all results are there.
"""

import json
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Events = Sequence[dict[str, Any]]


def serve(event: dict[str, Any]) -> int:
    """Call the handler as a worker of ours does; the rank."""
    from inference.worker import reply_to

    reply = reply_to(event)
    if "result" not in reply:
        raise RuntimeError(f"rank {event.get('RANK')}: {reply}")
    return int(reply["result"]["rank"])


def _pool(events: Events, workers: int) -> list[int]:
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return pool.map(serve, events, chunksize=1)


def _dask(events: Events, workers: int) -> list[int]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        ranks: list[int] = client.gather(client.map(serve, events, pure=False))
        return ranks


def _ray(events: Events, workers: int) -> list[int]:
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    remote = ray.remote(num_cpus=1)(serve)
    ranks: list[int] = ray.get([remote.remote(event) for event in events])
    ray.shutdown()
    return ranks


def _lithops(events: Events, workers: int) -> list[int]:
    from lithops import FunctionExecutor

    config = {
        "lithops": {"backend": "localhost", "storage": "localhost", "telemetry": False},
        "localhost": {"worker_processes": workers, "runtime": sys.executable},
    }
    with FunctionExecutor(config=config, log_level="ERROR") as executor:
        executor.map(serve, [{"event": event} for event in events])
        ranks: list[int] = executor.get_result()
        return ranks


ENGINES: dict[str, Callable[[Events, int], list[int]]] = {
    "pool": _pool,
    "dask": _dask,
    "ray": _ray,
    "lithops": _lithops,
}


def main() -> None:
    """Run one of them, and look that every rank came back."""
    engine, path, workers = sys.argv[1:]
    events = json.loads(Path(path).read_text())
    ranks = ENGINES[engine](events, int(workers))
    if sorted(ranks) != list(range(len(events))):
        raise RuntimeError(f"{engine} brought back {len(set(ranks))} of {len(events)} ranks")


if __name__ == "__main__":
    main()

"""What a run used of a cluster, in words."""

from collections.abc import Mapping
from typing import Any

from inference.contract.counted import counted
from inference.contract.validation import sanitize_text
from tasks.reporting.formatting import number, usd


def cluster_use(cluster: Mapping[str, Any]) -> str:
    """One sentence of the run's document's `cluster` (`tasks.executors.dask_workers.Workers.usage`).

    >>> used = {"core_seconds_allocated": 100.0, "core_seconds_used": 60.0, "idle_share": 0.4}
    >>> cluster_use({"kind": "tcp://head:8786", "workers": 4, "nodes": 2} | used)
    'tcp://head:8786: 4 workers on 2 nodes, 100 core-seconds allocated, 60 used (40% idle)'
    >>> cluster_use({"kind": "SLURM", "workers": 1, "nodes": 1, "usd_per_core_hour": 0.036, "usd": 0.001} | used)
    'SLURM: 1 worker on 1 node, 100 core-seconds allocated, 60 used (40% idle), $0.00100 at $0.036 a core-hour'
    """
    parts = [
        f"{counted(int(cluster['workers']), 'worker')} on {counted(int(cluster['nodes']), 'node')}",
        f"{number(cluster['core_seconds_allocated'])} core-seconds allocated",
        f"{number(cluster['core_seconds_used'])} used",
    ]
    if cluster.get("idle_share") is not None:
        parts[-1] += f" ({cluster['idle_share']:.0%} idle)"
    if cluster.get("usd") is not None:
        parts.append(f"{usd(cluster['usd'])} at ${cluster['usd_per_core_hour']:g} a core-hour")
    return f"{sanitize_text(cluster['kind'])}: {', '.join(parts)}"

"""A cluster that grows with the ranks that wait: by Dask's own policy, or by asking for more workers."""

import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

_EVERY_S = 1.0


def grow(cluster: Any, limits: Mapping[str, Any], demand: Callable[[], int], ended: threading.Event) -> None:
    """Have a cluster follow the demand within its limits.

    Ranks wait in the dispatcher, not in the scheduler, where Dask's own measure of the demand would not see them. A
    class whose `adapt` takes no policy, as KubeCluster's, is scaled from here; up alone, because which worker such a
    cluster gives up nobody here decides.

    Args:
        cluster: of Dask.
        limits: its `adapt_kwargs`.
        demand: how many workers there should be now.
        ended: set when the cluster is to be left alone.
    """
    parameters = inspect.signature(cluster.adapt).parameters.values()
    if any(each.name == "Adaptive" or each.kind is each.VAR_KEYWORD for each in parameters):
        cluster.adapt(Adaptive=_policy(demand), **limits)
        return
    least, most = limits.get("minimum") or 0, limits.get("maximum") or float("inf")
    threading.Thread(target=_scale, args=(cluster, least, most, demand, ended), name="cosmic-grow", daemon=True).start()


def _scale(cluster: Any, least: int, most: float, demand: Callable[[], int], ended: threading.Event) -> None:
    asked = 0
    while not ended.is_set():
        wanted = int(max(min(demand(), most), least))
        if wanted > asked:
            with suppress(Exception):  # the cluster's server may be busy: asked again at the next look
                cluster.scale(wanted)
                asked = wanted
        ended.wait(_EVERY_S)


def _policy(demand: Callable[[], int]) -> type:
    from distributed.deploy.adaptive import Adaptive

    class RanksWanted(Adaptive):  # type: ignore[misc]
        async def target(self) -> int:
            return demand()

    return RanksWanted

"""How fast this machine is at the moment, against the one of the shipped measurements."""

import time
from functools import cache

import numpy as np

_SHIPPED_PER_S = 100_000.0  # products of the same two matrices a second, on an idle core of the shipped measurements
_SIDE = 64  # so small that numpy's library uses one core for it
_MEASURED_S = 0.1
_LEAST, _MOST = 0.5, 20.0  # a tenth of a second tells no more
_SAME = 1.15  # within this ratio nothing is corrected


@cache
def pace() -> float:
    """How many times as long a core of this machine takes now as that of the shipped measurements.

    A core's share is measured, so that a machine that is busy with something else counts as a slow one. It is measured
    once a process, in a tenth of a second; 1 stands for about as fast.
    """
    matrix = np.full((_SIDE, _SIDE), 1.0 / _SIDE, dtype=np.float32)
    count, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < _MEASURED_S:
        for _ in range(50):
            matrix = matrix @ matrix
        count += 50
    return pace_of(count / seconds)


def pace_of(products_per_s: float) -> float:
    """The pace of a core that multiplies so many of the matrices a second.

    >>> pace_of(25_000.0), pace_of(98_000.0), pace_of(1.0)
    (4.0, 1.0, 20.0)
    """
    ratio = min(max(_SHIPPED_PER_S / products_per_s, _LEAST), _MOST)
    return 1.0 if 1 / _SAME < ratio < _SAME else ratio

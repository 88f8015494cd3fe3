import math
from random import Random

import pytest

from tasks.planning.stages import shared_factor


@pytest.mark.parametrize(
    ("runs", "least", "most"), [(0, 1.60, 1.70), (2, 2.1, 2.6), (10, 1.72, 1.92), (1000, 1.6, 1.7)]
)
def test_a_spread_of_few_runs_gives_wider_intervals(runs, least, most):
    random = Random(0)
    factors = sorted(shared_factor(random, 1.0, runs) for _ in range(20_000))
    assert factors[10_000] == pytest.approx(1.0, abs=0.05)
    assert least < math.log(factors[19_000]) < most

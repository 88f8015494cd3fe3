import pytest

from benchmarks.parts.peers import ALONE, LOADS, OURS, Load, _targets

TAKEN = {"pool": [10.0, 10.0], "dask": [20.0, 20.0], OURS: [21.0, 23.0], ALONE: [25.0, 25.0]}


def test_targets_of_peers_are_ratios_of_the_same_turn():
    dask, pool, alone = _targets(Load(64, 256, 1.05, 1.15), TAKEN)
    assert dask.ratio == pytest.approx(1.1)
    assert not dask.reached
    assert pool.ratio == pytest.approx(2.2)
    assert alone.ratio == pytest.approx(3.0)
    assert alone.reached


def test_targets_of_peers_have_different_names():
    names = [target.what for load in LOADS for target in _targets(load, TAKEN)]
    assert len(set(names)) == len(names) == 5

import pytest

from inference.errors import BadInput
from tasks.planning.sweep_estimate import check_budget, expect, total_usd
from tasks.sweeps.sweep import Sweep

SWEEP = {
    "name": "sizes",
    "request": {"bucket": "cosmicai", "data_bucket": "cosmicai"},
    "axes": {"data_size": "1GB", "partition_size": "50MB", "executor": "lambda"},
    "repeats": 2,
}


def expected(tmp_path, **axes):
    return expect(Sweep.read(SWEEP | {"axes": SWEEP["axes"] | axes}), str(tmp_path))


def test_local_cells_cost_nothing_and_aws_cells_what_their_ranks_bill(tmp_path):
    local, remote = expected(tmp_path, executor=["local", "lambda"])
    assert (local.usd, local.invocations) == (0.0, 42)
    compute = 42 * 10 * remote.rank_s * 0.0000166667
    assert compute < remote.usd < 1.5 * compute  # cold starts of some ranks and S3 come on top
    assert "published" in remote.source


def test_less_memory_is_slower(tmp_path):
    large, small = expected(tmp_path, memory_mb=[10240, 5120])
    assert small.rank_s > 1.3 * large.rank_s


def test_a_sweep_above_its_budget_is_refused_before_it_starts(tmp_path):
    found = expected(tmp_path)
    with pytest.raises(BadInput, match=r"expected to cost \$\d\.\d\d .* more than the \$0\.01"):
        check_budget(found, 0.01)
    check_budget(found, total_usd(found))
    check_budget(found, None)

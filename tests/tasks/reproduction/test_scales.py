import pytest

from inference.contract.sample import samples_of_size
from tasks.reproduction.scales import BATCH_SIZES, LOCAL, SCALES, expected_s, sweeps_of


@pytest.mark.parametrize("name", SCALES)
def test_sweeps_of_every_scale_can_be_run_and_need_the_emulator_last(name):
    sweeps = sweeps_of(SCALES[name], 2)
    assert tuple(sweeps)[: len(LOCAL)] == LOCAL
    for sweep_name, sweep in sweeps.items():
        assert {cell.executor for cell in sweep.cells()} == {"local"} or sweep_name not in LOCAL


@pytest.mark.parametrize("name", SCALES)
def test_largest_batch_fits_into_a_partition(name):
    assert samples_of_size(SCALES[name].batch_partition) >= max(BATCH_SIZES)


def test_small_scale_is_expected_to_end_in_ten_minutes_on_two_cores():
    assert sum(expected_s(sweep, 2) for sweep in sweeps_of(SCALES["small"], 2).values()) < 600

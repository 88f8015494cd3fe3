import re
from dataclasses import replace

import pytest

from tasks.sweeps.cells import Cell, cells_of
from tasks.sweeps.findings import UNKNOWN, findings_of
from tests.support.swept import SWEEPS, measured


def findings(**axes):
    return findings_of(cells_of(measured(**axes)))


def about(word, found):
    return [sentence for sentence in found if word in sentence]


def costing(usd_of, runs):
    """The runs with another cost, a function of the GB read and of the repeat."""
    return cells_of(
        replace(run, document=run.document | {"cost": {"usd": usd_of(run.gigabytes, run.repeat)}}) for run in runs
    )


SIZES = measured(data_size=["1GB", "2GB", "4GB", "8GB"], partition_size="100MB", executor="lambda")


def test_the_fastest_batch_size_is_named_with_its_numbers_when_it_exceeds_the_noise():
    (found,) = about("Batch size", findings(batch_size=[32, 128], noise=0.003))
    assert re.fullmatch(
        r"Batch size: 128 is the fastest with \d{3} samples/s, 1\.\d\d times \(95 % interval 1\.\d\d to 1\.\d\d\)"
        r" the next, 32 with \d{3} samples/s\.",
        found,
    )


def test_batch_sizes_that_do_not_differ_beyond_the_noise_are_said_not_to():
    (found,) = about("Batch size", findings(batch_size=[100, 128], noise=0.1))
    assert "makes no difference beyond the noise" in found
    low, high = map(float, re.search(r"95 % interval ([\d.]+) to ([\d.]+)", found).groups())
    assert low <= 1 <= high


def test_several_that_cannot_be_told_from_the_fastest_are_named():
    (found,) = about("Batch size", findings(batch_size=[8, 120, 128], noise=0.02))
    assert "cannot be told from it beyond the noise" in found
    assert "the slowest, 8, does" in found


@pytest.mark.parametrize("sweep", ["batch", "partition", "executors", "single"])
def test_one_run_each_makes_no_claim_about_cells(sweep):
    found = findings(repeats=1, **SWEEPS[sweep])
    assert UNKNOWN in found[0]
    assert not about("is the fastest", found) + about("balances", found)


def test_the_partition_size_that_balances_time_memory_and_cost_is_quoted_with_all_three():
    (found,) = about("Partition size", findings(noise=0.005, **SWEEPS["partition"]))
    assert re.search(r"50 MB balances time, memory and cost best, with [\d.]+ s, \d+ MB and \$0\.0\d+;", found)
    assert "for 75 MB, the next" in found


def test_partition_sizes_that_balance_alike_are_said_to():
    (found,) = about("Partition size", findings(partition_size=["50MB", "51MB"], noise=0.1))
    assert "does not exceed the noise" in found


def test_many_groups_are_told_by_the_last_of_them():
    found = about("Partition size", findings(**SWEEPS["data"]))
    assert len(found) == 1
    assert found[0].startswith("Partition size (12.6 GB)")
    assert found[0].endswith("The tables have the 6 other combinations of what varies.")


def test_cost_on_a_line_is_said_to_grow_linearly_with_the_line_quoted():
    noisy = costing(lambda gb, repeat: 0.05 * gb * (1 + 0.01 * (repeat - 2)) + 0.002, SIZES)
    (found,) = about("Cost", findings_of(noisy))
    assert found.startswith("Cost grows linearly with data size: $0.0500 a GB and $0.00200; ")
    assert found.endswith("within the noise.")


def test_cost_near_a_line_but_off_by_more_than_the_noise_says_both():
    near = costing(lambda gb, repeat: 0.05 * gb**1.02 * (1 + 0.0001 * repeat), SIZES)
    (found,) = about("Cost", findings_of(near))
    assert "grows linearly with data size to within 5%" in found
    assert "more than the noise" in found


def test_cost_off_a_line_is_said_not_to_grow_linearly():
    square = costing(lambda gb, repeat: 0.05 * gb**2 * (1 + 0.001 * repeat), SIZES)
    (found,) = about("Cost", findings_of(square))
    assert "does not grow linearly" in found


def test_two_sizes_say_nothing_about_a_line():
    assert not about("Cost", findings(data_size=["1GB", "2GB"]))


def test_the_bottleneck_is_the_stage_that_takes_most_of_a_warm_rank():
    (found,) = about("bottleneck", findings())
    assert found == "Warm ranks spend 97% of their wall time computing and 2% reading: computing is the bottleneck."


def test_ranks_that_are_all_cold_are_told_as_such():
    (found,) = about("bottleneck", findings(executor="lambda"))
    assert found.startswith("Cold ranks spend ")


def test_each_executor_has_a_bottleneck_of_its_own():
    found = about("bottleneck", findings(**SWEEPS["executors"]))
    assert [sentence.split(",")[0] for sentence in found] == ["On lambda", "On local"]


def test_stragglers_that_a_run_waits_for_are_told():
    assert about("the run waits for it", findings(data_size="4GB"))
    assert not about("the run waits for it", findings())


def test_failed_runs_come_first_and_no_run_at_all_is_no_error():
    runs = measured(repeats=2)
    broken = [replace(run, failed="away") for run in runs]
    assert findings_of(cells_of([runs[0], broken[1]]))[0].startswith("1 of 2 runs failed")
    assert findings_of(cells_of(broken)) == [
        "2 of 2 runs failed; they count for nothing in tables, plots and findings."
    ]
    assert findings_of([]) == []


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("repeats", [1, 2])
def test_every_finding_is_a_plain_sentence(sweep, repeats):
    for sentence in findings(repeats=repeats, **SWEEPS[sweep]):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not re.search(r"nan|None|inf\b|\[|\{", sentence)


def test_runs_whose_figures_are_unknown_are_no_error():
    (run,) = measured(repeats=1)
    bare = replace(run, document=run.document | {"makespan_s": None, "samples_per_s": None, "cost": {}, "ranks": []})
    other = replace(bare, axes=bare.axes | {"batch_size": 32, "partition_size": "25MB", "data_size": "2GB"})
    assert findings_of([Cell(bare.axes, (bare,)), Cell(other.axes, (other,))]) == []

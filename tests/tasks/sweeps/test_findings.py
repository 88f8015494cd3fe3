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


def test_findings_name_the_fastest_cell_with_its_lead():
    (found,) = about("Fastest", findings(batch_size=[32, 128], noise=0.003))
    assert re.fullmatch(
        r"Fastest: batch 128 with \d{3} samples/s, 1\.\d\d times as fast as the next, batch 32"
        r" \(95 % interval 1\.\d\d to 1\.\d\d\)\.",
        found,
    )


def test_findings_claim_no_lead_within_the_noise():
    (found,) = about("Fastest", findings(batch_size=[100, 128], noise=0.1))
    assert found.endswith("does not differ from it beyond the noise.")
    (found,) = about("Fastest", findings(batch_size=[119, 120, 128], noise=0.1))
    assert re.search(r"; 2 others, batch \d+ first, do not differ from it beyond the noise\.", found)


@pytest.mark.parametrize("sweep", ["batch", "partition", "executors"])
def test_findings_of_one_run_each_say_that_noise_is_unknown(sweep):
    found = findings(repeats=1, **SWEEPS[sweep])
    for word in ("Fastest", "Recommended"):
        (sentence,) = about(word, found)
        assert sentence.endswith(f"but {UNKNOWN}.")


def test_findings_end_in_a_recommendation_with_its_confidence():
    found = findings(noise=0.005, **SWEEPS["partition"])
    assert re.fullmatch(
        r"Recommended: 50 MB \([\d.]+ s, \d+ MB a rank, \$0\.0\d+\), which has the smallest product of time, memory and"
        r" cost a sample, 1\.\d\d times smaller than that of the next, 75 MB \(95 % interval 1\.\d+ to 1\.\d+\)\.",
        found[-1],
    )


def test_findings_compare_only_cells_that_read_the_same_data():
    (found,) = about("Recommended", findings(**SWEEPS["data"]))
    assert found.startswith("Recommended: 25 MB (")


def test_findings_name_the_stage_that_takes_most_of_a_warm_rank():
    (found,) = about("bottleneck", findings())
    assert found == "Warm ranks spend 97% of their wall time computing and 2% reading: computing is the bottleneck."


def test_findings_describe_cold_ranks_where_no_rank_is_warm():
    (found,) = about("bottleneck", findings(executor="lambda"))
    assert found.startswith("Cold ranks spend ")


def test_findings_name_a_bottleneck_for_each_executor():
    found = about("bottleneck", findings(**SWEEPS["executors"]))
    assert [sentence.split(",")[0] for sentence in found] == ["On lambda", "On local"]


def test_findings_begin_with_failed_runs():
    runs = measured(repeats=2)
    broken = [replace(run, failed="away") for run in runs]
    assert findings_of(cells_of([runs[0], broken[1]]))[0].startswith("1 of 2 runs failed")
    assert findings_of(cells_of(broken)) == ["2 of 2 runs failed; tables, plots and findings leave them out."]
    assert findings_of([]) == []


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("repeats", [1, 2])
def test_findings_are_plain_sentences(sweep, repeats):
    for sentence in findings(repeats=repeats, **SWEEPS[sweep]):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not re.search(r"nan|None|inf\b|\[|\{", sentence)


def test_findings_of_runs_without_figures_are_empty():
    (run,) = measured(repeats=1)
    bare = replace(run, document=run.document | {"makespan_s": None, "samples_per_s": None, "cost": {}, "ranks": []})
    other = replace(bare, axes=bare.axes | {"batch_size": 32, "partition_size": "25MB", "data_size": "2GB"})
    assert findings_of([Cell(bare.axes, (bare,)), Cell(other.axes, (other,))]) == []

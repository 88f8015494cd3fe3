import json

import pytest

from inference.errors import BadInput
from tasks.combined_data.find import find_runs
from tasks.combined_data.one_machine import read_total
from tasks.combined_data.tables import figures
from tests.support.archived_records import one_machine, stats


def test_the_last_entry_is_the_whole_run(tmp_path):
    one_machine(tmp_path / "cpu", 3)
    (run,) = find_runs(tmp_path)
    row = figures(run)
    assert (run.name, row["records"], row["samples"]) == ("cpu/total.json", 1, 3 * 52_224)
    assert (row["mean_s"], row["makespan_s"]) == (300.0, 300.0)
    assert run.shortfalls == ()


def test_each_row_is_what_the_gigabytes_since_the_last_one_took():
    entries = [stats(samples=1000, seconds=10.0), stats(samples=3000, seconds=50.0)]
    entries = [entry | {"GB_processed": count} for entry, count in zip(entries, (1, 2), strict=True)]
    growth, _ = read_total(json.dumps(entries).encode(), "total.json", "cpu")
    rows = growth.table().rows
    assert [(row["gigabytes"], row["seconds"], row["samples_per_s"]) for row in rows] == [(1, 10, 100), (2, 40, 50)]


def test_a_run_that_was_not_ended_is_read_from_its_gigabytes(tmp_path):
    one_machine(tmp_path / "cpu", 11)
    (tmp_path / "cpu/total.json").unlink()
    (run,) = find_runs(tmp_path)
    assert (run.name, run.wall_s) == ("cpu", 1100.0)
    assert run.shortfalls == ("cpu has no total.json: the run was not ended",)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([], "total.json is no total.json of the one-machine script"),
        ([stats()], "total.json: entry 1: GB_processed"),
        ([3], "total.json: entry 1 is no object"),
        ([stats() | {"GB_processed": 2}, stats() | {"GB_processed": 1}], "entry 2: GB_processed and .* must grow"),
    ],
)
def test_a_malformed_total_is_named_by_file_entry_and_key(entries, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_total(json.dumps(entries).encode(), "total.json", "cpu")

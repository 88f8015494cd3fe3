import json

import pytest

from inference.contract.sample import BITS_PER_SAMPLE
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.combined_data.find import find_runs, find_stored_runs
from tasks.combined_data.slurm import read_accounting, read_job
from tasks.combined_data.tables import figures
from tests.support.archived_records import SACCT, slurm_job, stats


def test_a_task_is_one_rank_with_the_sum_over_its_files(tmp_path):
    slurm_job(tmp_path, 3, 6, 7, samples=5000, seconds=25.0)
    (record,) = read_job((tmp_path / "job_3.json").read_bytes(), "job_3.json", "results2/1GB/1")
    assert (record.rank, record.data_paths, record.result_path) == (3, ("6.pt", "7.pt"), "results2/1GB/1")
    assert (record.samples, record.seconds, record.batch_size) == (10_000, 50.0, 512)
    assert record.bits == pytest.approx(10_000 * BITS_PER_SAMPLE)


def test_a_run_has_the_wall_time_of_sacct_beside_it(tmp_path):
    for number in (0, 1):
        slurm_job(tmp_path / "1GB/1", number, number)
    (tmp_path / "1GB/1/sacct.txt").write_text(SACCT)
    (run,) = find_runs(tmp_path)
    row = figures(run)
    assert (run.name, row["records"], row["planned"], run.shortfalls) == ("1GB/1", 2, 2, ())
    assert row["makespan_s"] == 120.0
    assert row["wall_gbps"] == pytest.approx(2 * 5113 * BITS_PER_SAMPLE / 120 / 1e9)


def test_the_same_run_is_found_in_a_store(tmp_path):
    slurm_job(tmp_path / "my-bucket/results2/1GB/1", 0, 0)
    (tmp_path / "my-bucket/results2/1GB/1/sacct.txt").write_text(SACCT)
    (run,) = find_stored_runs(Store(tmp_path), "my-bucket", "results2")
    assert (run.name, run.wall_s) == ("1GB/1", 120.0)


@pytest.mark.parametrize(("numbers", "missing"), [((0, 1, 2), 0), ((1, 2, 3), 0), ((0, 3), 2), ((2, 3), 1)])
def test_tasks_that_left_no_file_are_noticed_by_the_numbers(tmp_path, numbers, missing):
    for number in numbers:
        slurm_job(tmp_path, number, number)
    (run,) = find_runs(tmp_path)
    assert run.planned.ranks == len(numbers) + missing
    assert bool(run.shortfalls) == bool(missing)


def test_tasks_without_a_file_to_read_are_none_of_the_ranks(tmp_path):
    slurm_job(tmp_path, 0, 0)
    slurm_job(tmp_path, 1)
    (run,) = find_runs(tmp_path)
    assert (len(run.records), run.planned.ranks, run.shortfalls) == (1, 1, ())


@pytest.mark.parametrize("text", [SACCT, SACCT.partition("\n")[2]])
def test_sacct_is_read_with_headings_or_without(text):
    assert read_accounting(text.encode(), "sacct.txt").wall_s == 120.0


def test_tasks_that_were_not_completed_are_counted_by_state():
    text = SACCT.replace("10:02:00|COMPLETED", "10:02:00|OUT_OF_MEMORY") + "77_2|Unknown|Unknown|CANCELLED by 1000|\n"
    found = read_accounting(text.encode(), "sacct.txt")
    assert found.shortfalls == ["2 of 3 SLURM tasks were not completed: 1 CANCELLED, 1 OUT_OF_MEMORY"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("JobID|Elapsed|\n77|00:02:00|\n", "sacct.txt lacks the column Start: write it with `sacct -p"),
        ("77_0  2025-10-21T10:00:00 2025-10-21T10:01:00\n", r"sacct.txt, line 1 is no line of sacct's"),
        ("77_0|yesterday|today|COMPLETED|\n", "sacct.txt, line 1 has a wrong time: 'yesterday today'"),
        ("77_0|2025-10-21T10:00:00|Unknown|RUNNING|\n", "sacct.txt names no task that began and ended"),
        ("", "sacct.txt names no task that began and ended"),
    ],
)
def test_sacct_that_is_of_another_form_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_accounting(text.encode(), "sacct.txt")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "job_0.json is no result of a SLURM task"),
        ([{"file_index": 0}], "job_0.json: entry 1 has no stats"),
        ([{"file_index": "a", "stats": stats()}], "job_0.json: entry 1: file_index"),
        ([{"file_index": 0, "stats": stats() | {"sample_persec": [1, 2]}}], r"entry 1 has a wrong 'sample_persec'"),
        ([{"file_index": 0, "stats": {}}], r"entry 1 lacks 'total_execution_time \(seconds\)'"),
    ],
)
def test_a_malformed_job_is_named_by_file_entry_and_key(document, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_job(json.dumps(document).encode(), "job_0.json", "run")

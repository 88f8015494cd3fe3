import json

import pytest

from inference.errors import BadInput
from inference.storage.store import Store
from tasks.combined_data.find import find_runs, find_stored_runs
from tasks.combined_data.tables import facts, figures, repeats_table, runs_table
from tests.support.archived_records import BITS, old_record, old_run


def test_figures_of_an_old_run_are_those_of_its_published_analysis(tmp_path):
    records = [old_record(number, seconds=seconds) for number, seconds in enumerate((4.0, 5.0, 6.0, 5.0, 40.0), 1)]
    (tmp_path / "combined_25MB.json").write_text(json.dumps(records))
    row = figures(find_runs(tmp_path / "combined_25MB.json")[0])
    assert (row["records"], row["samples"], row["bits"]) == (5, 5 * 1278, 5 * 1278 * BITS)
    assert (row["mean_s"], row["dropped"], row["median_s"], row["max_s"]) == (5.0, 1, 5.0, 40.0)
    assert row["sum_gbps"] == pytest.approx(sum(1278 * BITS / s for s in (4, 5, 6, 5, 40)) / 1e9)
    assert row["makespan_s"] is None
    assert "Makespan s" not in {name for name, _, _ in facts(row)}


def test_a_folder_gives_a_row_a_run_and_the_mean_of_repeats(tmp_path):
    for number, seconds in ((1, 4.0), (2, 5.0), (10, 6.0)):
        old_run(
            tmp_path / f"1GB/{number}/combined_data.json", 41, seconds=seconds, result_path=f"result-25MB/1GB/{number}"
        )
    runs = find_runs(tmp_path)
    assert [run.name for run in runs] == [f"1GB/{number}/combined_data.json" for number in (1, 2, 10)]
    rows = [figures(run) for run in runs]
    (row,) = repeats_table(rows).rows
    assert (row["run"], row["runs"], row["mean_s"]) == ("result-25MB/1GB", 3, 5.0)
    assert row["mean_s_low"] < 5.0 < row["mean_s_high"]
    assert [cells[0] for cells in runs_table(rows).cells()] == ["1GB/1", "1GB/2", "1GB/10"]
    assert repeats_table(rows[:1]) is None


def test_repeats_of_the_same_figures_show_no_spread_of_rounding(tmp_path):
    for number in (1, 2, 3):
        old_run(
            tmp_path / f"{number}/combined_data.json", 11, seconds=0.1 + 0.2, result_path=f"result-25MB/1GB/{number}"
        )
    assert not [
        cell for row in repeats_table(map(figures, find_runs(tmp_path))).cells() for cell in row if "e-" in cell
    ]


def test_repeats_are_known_by_the_run_in_their_path_however_it_is_written(tmp_path):
    for number, path in enumerate(("1GB/run 1/", "1GB/run 2/", "1GB/Run_3", "1GB/4")):
        old_run(tmp_path / f"{number}/combined_data.json", 41, result_path=path)
    (row,) = repeats_table([figures(run) for run in find_runs(tmp_path)]).rows
    assert (row["run"], row["runs"]) == ("1GB", 4)


def test_combined_files_side_by_side_are_repeats(tmp_path):
    for name in ("combined_data.json", "combined_data_1.json", "combined_data_2.json"):
        old_run(tmp_path / name, 41, result_path="result-25MB/1GB")
    (row,) = repeats_table([figures(run) for run in find_runs(tmp_path)]).rows
    assert (row["run"], row["runs"]) == ("result-25MB/1GB", 3)


def test_rank_results_that_were_never_summed_up_are_read_however_many(tmp_path):
    for number in range(1, 1101):
        (tmp_path / f"{number}.json").write_text(json.dumps(old_record(number, result_path="result-25MB/all/1")))
    (run,) = find_runs(tmp_path)
    assert len(run.records) == 1100
    assert run.records[9].data_paths == ("25MB/10.pt",)
    assert run.shortfalls == ()


def test_a_plan_beside_the_file_is_used(tmp_path):
    old_run(tmp_path / "combined_data.json", 2, result_path="runs/a")
    (tmp_path / "payload.json").write_text(json.dumps({"data_map": {str(n): f"25MB/{n + 1}.pt" for n in range(3)}}))
    for place in (tmp_path, tmp_path / "combined_data.json"):
        (run,) = find_runs(place)
        assert run.planned.ranks == 3
        assert "the records lack: 25MB/3.pt" in run.shortfalls


def test_a_partial_file_is_never_taken_for_a_whole(tmp_path):
    old_run(tmp_path / "a/combined_data.partial.json", 2, result_path="runs/a")
    (run,) = find_runs(tmp_path)
    assert "partial result" in run.shortfalls[0]
    old_run(tmp_path / "a/combined_data.json", 3, result_path="runs/a")
    (run,) = find_runs(tmp_path)
    assert (len(run.records), run.shortfalls) == (3, ())


def test_an_empty_file_is_reported_and_an_empty_folder_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no combined_data\.json and no rank result under"):
        find_runs(tmp_path)
    (tmp_path / "combined_data.json").write_text("[]")
    (run,) = find_runs(tmp_path)
    assert run.shortfalls == ("combined_data.json holds no record",)
    assert figures(run)["records"] == 0


def test_a_prefix_of_a_bucket_is_read_as_a_folder_is(tmp_path):
    old_run(tmp_path / "cosmicai-data/result-25MB/1GB/1/combined_data.json", 41)
    store = Store(tmp_path)
    (run,) = find_stored_runs(store, "cosmicai-data", "result-25MB")
    (same,) = find_stored_runs(store, "cosmicai-data", "result-25MB/1GB/1/combined_data.json")
    assert run.records == same.records
    assert len(run.records) == 41
    with pytest.raises(BadInput, match="no combined_data"):
        find_stored_runs(store, "cosmicai-data", "result-50MB")
    with pytest.raises(BadInput, match="there is no cosmicai-data/x/combined"):
        find_stored_runs(store, "cosmicai-data", "x/combined_data.json")

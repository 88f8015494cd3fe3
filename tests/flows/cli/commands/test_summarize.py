import json

import pytest

from flows.cli import main
from tests.support.archived_records import SACCT, old_run, one_machine, slurm_job


def test_a_whole_run_of_the_replaced_system_is_shown_with_definitions(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    old_run(tmp_path / "combined_25MB_1GB.json", 41)
    assert main(["summarize", str(tmp_path / "combined_25MB_1GB.json"), "--explain"]) == 0
    out = capsys.readouterr().out
    for expected in ("Records", "41", "52,398", "Sum of rates Gbit/s", "no speed of the run"):
        assert expected in out
    assert "WARNING" not in out


def test_a_run_that_is_short_is_shown_warned_of_and_fails(tmp_path, capsys):
    old_run(tmp_path / "combined_data.json", 40)
    assert main(["summarize", str(tmp_path)]) == 1
    assert "40 records are fewer than the about 41 planned" in capsys.readouterr().out
    assert main(["summarize", str(tmp_path), "--ranks", "40"]) == 0


def test_json_is_one_document_with_its_warnings(tmp_path, capsys):
    for number in (1, 2):
        old_run(tmp_path / f"{number}/combined_data.json", 41 - number, result_path=f"result-25MB/1GB/{number}")
    assert main(["summarize", str(tmp_path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [row["records"] for row in document["runs"]] == [40, 39]
    assert [each["run"] for each in document["warnings"]] == ["1/combined_data.json", "2/combined_data.json"]
    assert document["repeats"][0]["runs"] == 2


def test_a_plan_names_what_is_missing(tmp_path, capsys):
    old_run(tmp_path / "old.json", 2, result_path="runs/a")
    (tmp_path / "plan.json").write_text(json.dumps({"data_map": {str(n): f"25MB/{n + 1}.pt" for n in range(3)}}))
    assert main(["summarize", str(tmp_path / "old.json"), "--plan", str(tmp_path / "plan.json")]) == 1
    assert "the records lack: 25MB/3.pt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere/at-all"], "there is no combined_data.json and no rank result under nowhere/at-all"),
        (["nowhere"], "RESULT_PATH is written bucket/result_path"),
        (["{}", "--ranks", "0"], "--ranks must be at least 1"),
        (["{}", "--plan", "missing.json"], "cannot read the plan missing.json"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    old_run(tmp_path / "a/combined_data.json", 2, result_path="runs/a")
    assert main(["summarize", *(word.format(tmp_path / "a") for word in words)]) == 2
    assert expected in capsys.readouterr().err


def test_a_slurm_run_is_shown_with_its_wall_time(tmp_path, capsys):
    slurm_job(tmp_path / "run", 0, 0)
    (tmp_path / "77.txt").write_text(SACCT)
    assert main(["summarize", str(tmp_path / "run"), "--sacct", str(tmp_path / "77.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["makespan_s"] == 120.0
    assert main(["summarize", str(tmp_path / "run"), "--sacct", "missing.txt"]) == 2
    assert "cannot read --sacct missing.txt" in capsys.readouterr().err


def test_a_run_on_one_machine_is_shown_by_gigabyte(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    one_machine(tmp_path / "cpu", 2)
    assert main(["summarize", str(tmp_path / "cpu/total.json")]) == 0
    out = capsys.readouterr().out
    assert "By gigabyte" in out
    assert ["2", "200", "100", "522", "85.7"] in [line.split() for line in out.splitlines()]
    assert main(["summarize", str(tmp_path / "cpu"), "--json"]) == 0
    growth = json.loads(capsys.readouterr().out)["growth"]["total.json"]
    assert [row["total_s"] for row in growth] == [100.0, 200.0]

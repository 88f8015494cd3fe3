import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.cli import main

SWEEPS = Path(__file__).parents[4] / "benchmarks" / "sweeps"
COSMIC = str(Path(sys.executable).with_name("cosmic"))


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """Works in an empty folder, where the sweeps that come with the package lack everything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tasks.check_sweep.FOLDER", tmp_path / "surveys")


@pytest.mark.usefixtures("packaged")
def test_a_dry_run_lists_cells_invocations_and_cost_and_runs_nothing(tmp_path, capsys):
    assert main(["bench", str(SWEEPS / "smoke.yaml"), "--dry-run", "--store", str(tmp_path / "store")]) == 0
    shown = capsys.readouterr().out
    assert "sweep smoke: 8 cells" in shown
    assert "expected to take" in shown
    assert "Nothing was run" in shown
    assert not (tmp_path / "store").exists()


@pytest.mark.usefixtures("packaged")
def test_a_dry_run_as_json_adds_up(capsys):
    assert main(["bench", str(SWEEPS / "smoke.yaml"), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["invocations"] == sum(cell["invocations"] for cell in document["cells"])
    assert document["expected_usd"] == pytest.approx(sum(cell["expected_usd"] for cell in document["cells"]))
    assert "shipped measurements" in document["how"]


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_everything_that_is_missing_is_named_with_its_command(dry, tmp_path, capsys):
    assert main(["bench", "data-size", *dry]) == 2
    said = capsys.readouterr().err
    for expected in (
        "the lambda executor needs --store s3://",
        "`cosmic model new .cosmic/store/cosmicai-bench/models/full.safetensors --size full`",
        "cosmicai-bench/25MB/ holds 0 of 41 partitions: `cosmic partition SURVEY --size 25MB",
    ):
        assert expected in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("packaged")
def test_a_model_made_as_the_message_says_is_found(capsys):
    words = ["bench", "batch-size", "--dry-run"]
    assert main(words) == 2
    command = capsys.readouterr().err.partition("`cosmic ")[2].partition("`")[0]
    assert main(command.split()) == 0
    assert main(words) == 0


@pytest.mark.usefixtures("packaged")
def test_a_survey_that_does_not_fit_the_disk_is_refused(tmp_path, monkeypatch, capsys):
    text = (SWEEPS / "smoke.yaml").read_text().replace("samples: 2556", "samples: 10000000")
    (tmp_path / "large.yaml").write_text(text)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**11))
    assert main(["bench", "large.yaml"]) == 2
    assert "100.0 GB are free" in capsys.readouterr().err


@pytest.mark.usefixtures("packaged")
def test_another_executor_takes_the_place_of_the_sweeps_own(capsys):
    main(["bench", str(SWEEPS / "data-size.yaml"), "--dry-run", "--json", "--executor", "local"])
    assert json.loads(capsys.readouterr().out)["expected_usd"] == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([str(SWEEPS / "data-size.yaml"), "--max-cost", "1"], "more than the $1.00"),
        ([str(SWEEPS / "data-size.yaml"), "--max-cost", "nan"], "--max-cost"),
        (["none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_run_exits_2_before_anything_is_spent(words, expected, capsys):
    assert main(["bench", *words]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_tells_which_run_it_is_at_and_not_what_prefect_logs(store, tmp_path, prefect_server):
    sweep = {
        "name": "tiny",
        "request": {"bucket": "cosmicai-test", "data_bucket": "cosmicai-test", "model": "models/tiny.safetensors"},
        "survey": {"samples": 153},
        "axes": {"batch_size": [16, 64], "partition_size": "3MB"},
        "repeats": 1,
        "workers": 0,
    }
    (tmp_path / "tiny.yaml").write_text(json.dumps(sweep))
    done = subprocess.run(
        [COSMIC, "bench", "tiny.yaml", "--store", str(store), "--json"],
        cwd=tmp_path,
        env=os.environ | {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"] == 2
    assert "run 2 of 2: filelimit-1_batchsize-64_prefix-3MB, repeat 1" in done.stderr
    assert "INFO" not in done.stderr

import os
import subprocess
import sys

import numpy as np
import pytest

from flows.cli import main
from inference.partitions.partition import open_partition, write_partition
from tests.support.surveys import random_survey, snapshot


@pytest.fixture
def survey(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_partition(tmp_path / "survey.pt", *random_survey(70))
    return tmp_path / "survey.pt"


def test_init_makes_a_bucket_and_says_when_it_was_there(tmp_path, capsys):
    words = ["init", "cosmicai-data", "--store", str(tmp_path / "store")]
    assert main(words) == 0
    assert {path.name for path in (tmp_path / "store" / "cosmicai-data").iterdir()} == {"scripts", "results"}
    before = snapshot(tmp_path)
    assert main(words) == 0
    assert "was there already" in capsys.readouterr().out
    assert snapshot(tmp_path) == before


def test_simulate_writes_a_survey_and_the_same_seed_the_same_bytes(tmp_path, capsys):
    for name, page in (("one.pt", ()), ("two.pt", ("--no-page",))):
        words = ["simulate", "--samples", "5", "--seed", "3", "--workers", "1", "--out", str(tmp_path / name)]
        assert main([*words, *page]) == 0
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    assert len(open_partition(tmp_path / "one.pt", "one")) == 5
    output = capsys.readouterr()
    assert "5 galaxies" in output.out
    assert "pictures" in output.err, "the page is drawn with progress"
    assert "<svg" in (tmp_path / "one.html").read_text()


def test_simulate_writes_no_page_when_none_is_wanted(tmp_path):
    words = ["simulate", "--samples", "2", "--workers", "1", "--out", str(tmp_path / "s.pt"), "--no-page"]
    assert main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["s.pt"]


@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_partition_cuts_a_survey_into_numbered_files_that_hold_it_all(survey, form):
    assert main(["partition", str(survey), "--samples", "30", "--to", "parts", "--format", form]) == 0
    files = [survey.parent / "parts" / f"{number}.{form}" for number in (1, 2, 3)]
    assert sorted((survey.parent / "parts").iterdir()) == files
    parts = [open_partition(path, path.name) for path in files]
    assert [len(part) for part in parts] == [30, 30, 10]
    whole = open_partition(survey, "survey")
    for name in ("images", "magnitudes", "redshifts"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def test_partition_by_size_counts_as_the_contract_does(survey):
    assert main(["partition", str(survey), "--size", "1MB", "--to", "parts"]) == 0
    assert len(open_partition(survey.parent / "parts" / "1.pt", "1")) == 51


def test_partition_does_not_mix_with_what_is_there(survey, capsys):
    assert main(["partition", str(survey), "--samples", "10", "--to", "parts"]) == 0
    before = snapshot(survey.parent)
    assert main(["partition", str(survey), "--samples", "30", "--to", "parts"]) == 2
    assert "holds 7 partitions already" in capsys.readouterr().err
    assert snapshot(survey.parent) == before


@pytest.mark.parametrize("size", ["0", "25", "25 apples", "-1MB", "nanMB", "1e9MB"])
def test_a_size_that_is_none_is_refused(survey, size, capsys):
    assert main(["partition", str(survey), f"--size={size}", "--to", "parts"]) == 2
    assert not (survey.parent / "parts").exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_partition_leaves_out_and_names_what_cannot_be_used_when_asked(survey, capsys):
    images, magnitudes, redshifts = random_survey(20)
    magnitudes[4, 0] = -9999
    write_partition(survey, images, magnitudes, redshifts)
    before = snapshot(survey.parent)
    assert main(["partition", "survey.pt", "--samples", "30", "--to", "parts"]) == 2
    assert "sample 4: an implausible magnitude: u is -9999" in capsys.readouterr().err
    assert snapshot(survey.parent) == before
    assert main(["partition", "survey.pt", "--samples", "30", "--to", "parts", "--skip-bad"]) == 0
    assert "1 galaxy left out" in capsys.readouterr().out
    assert len(open_partition(survey.parent / "parts/1.pt", "1")) == 19
    assert (survey.parent / "parts.skipped.csv").read_text().splitlines()[1].startswith("5,")


def test_partition_takes_arrays_by_the_names_that_are_given(survey, capsys):
    images, magnitudes, redshifts = random_survey(20)
    np.savez(survey.parent / "s.npz", a=images, b=magnitudes, c=redshifts)
    words = ["partition", "s.npz", "--samples", "30", "--to", "parts"]
    assert main(words) == 2
    assert (
        "s.npz has no images: name the array with --map images=NAME; it has a (20, 5, 32, 32)"
        in capsys.readouterr().err
    )
    assert main([*words, "--map", "images=a", "--map", "magnitudes=b", "--map", "redshifts=c"]) == 0
    np.testing.assert_array_equal(open_partition(survey.parent / "parts/1.pt", "1").images, images)
    assert main([*words, "--map", "images"]) == 2
    assert "--map is written as images=NAME" in capsys.readouterr().err


def test_partition_imports_no_prefect_where_no_server_is_configured(survey):
    code = (
        "import sys; from flows.cli import main\n"
        "assert main(['partition', 'survey.pt', '--samples', '30', '--to', 'parts']) == 0\n"
        "assert not {'prefect', 'torch', 'matplotlib'} & {name.split('.')[0] for name in sys.modules}\n"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = others | {"PREFECT_HOME": str(survey.parent / "home")}
    subprocess.run([sys.executable, "-c", code], cwd=survey.parent, env=environment, check=True)


def test_partition_names_a_server_of_a_profile_that_does_not_answer(survey):
    home = survey.parent / "home"
    home.mkdir()
    (home / "profiles.toml").write_text(
        'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    code = (
        "import sys; from flows.cli import main, prefect_server\n"
        "prefect_server._START_S = 0.5  # for a server that is still starting\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "partition", "survey.pt", "--samples", "30", "--to", "parts"],
        cwd=survey.parent,
        env=others | {"PREFECT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "the Prefect server at http://127.0.0.1:9/api" in done.stderr
    assert not (survey.parent / "parts").exists()

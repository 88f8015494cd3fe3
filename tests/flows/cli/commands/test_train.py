import json
import threading
import time

import pytest
import torch
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.cli import main
from tests.support.models import TINY
from tests.support.prefect_command import reporting_to
from tests.support.surveys import snapshot, write_survey
from tests.support.tcp_proxy import tcp_proxy


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with partitions and a recipe."""
    monkeypatch.chdir(tmp_path)
    write_survey(tmp_path / "survey", (60, 40))
    (tmp_path / "recipe.json").write_text(json.dumps({"model": TINY.to_dict(), "batch_size": 32, "epochs": 5}))
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_recipe_with_changes_is_trained_and_shown(place, capsys):
    words = ["train", "survey", "--to", "out", "--recipe", "recipe.json", "--set", "epochs=1"]
    assert main([*words, "--set", "pretraining.epochs=1", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "pretraining",
        "galaxies/s",
        "on 10 galaxies kept for this: NMAD",
        "model.safetensors",
        "training.html",
    ):
        assert expected in out
    assert main([*words, "--json", "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["recipe"]["pretraining"] is None
    assert len(document["history"]["training"]) == 1


@pytest.mark.slow
def test_a_training_outlives_a_server_that_goes_away(place, capsys, prefect_server, monkeypatch):
    words = ["train", "survey", "--to", "out", "--recipe", "recipe.json", "--set", "epochs=3", "--device", "cpu"]
    with (
        tcp_proxy(prefect_server) as (proxy, url),
        reporting_to(url),
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        monkeypatch.setenv("PREFECT_API_URL", url)

        def cut_once_it_trains():
            while not list((place / "out").glob("state/*")):
                time.sleep(0.01)
            proxy.cut()

        threading.Thread(target=cut_once_it_trains, daemon=True).start()
        assert main([*words, "--json"]) == 0
    shown = capsys.readouterr()
    assert "went away at the end of the training, which is done all the same" in shown.err
    document = json.loads(shown.out)
    assert len(document["history"]["training"]) == 3
    assert (place / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["survey", "--recipe", "none.json"], "cannot read the recipe none.json"),
        (["survey", "--recipe", "survey/1.pt"], "the recipe survey/1.pt is not JSON"),
        (["survey", "--set", "epochs"], "--set is written FIELD=VALUE, not 'epochs'"),
        (["survey", "--set", "epochs=many"], "epochs must be a whole number from 1, not 'many'"),
        (["survey", "--set", "model=huge"], "model must be small or published"),
    ],
)
def test_wrong_input_is_one_sentence_exit_code_2_and_writes_nothing(place, capsys, words, expected):
    before = snapshot(place)
    assert main(["train", *words, "--to", "out"]) == 2
    assert expected in capsys.readouterr().err
    assert snapshot(place) == before


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_galaxies_that_are_not_there_are_named_before_anything_is_written(place, capsys):
    before = snapshot(place)
    assert main(["train", "nowhere", "--to", "out"]) == 2
    assert "there is no file, folder or bucket/prefix nowhere" in capsys.readouterr().err
    assert snapshot(place) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("data", [b"id,ra\n1,2\n", b"SIMPLE  =                    T"])
def test_a_file_that_is_no_partition_is_refused_before_a_server_starts(place, capsys, data):
    (place / "galaxies").write_bytes(data)
    assert main(["train", "galaxies", "--to", "out", "--recipe", "recipe.json"]) == 2
    err = capsys.readouterr().err
    assert "`cosmic partition` makes partitions of it" in err
    assert "Prefect" not in err
    assert not (place / "out").exists()


def test_a_gpu_that_is_not_there_is_reported(place, capsys):
    assert main(["train", "survey", "--to", "out", "--device", "cuda"]) == 2
    assert "torch finds no CUDA device here" in capsys.readouterr().err

import hashlib
import json
import subprocess
import sys

import pytest
import torch

from flows.cli import main
from inference.model.checkpoint import load
from tests.support.legacy_modules import legacy_model, parallel, saved
from tests.support.models import CONVOLVED, TINY


@pytest.fixture
def legacy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "legacy.pt"
    path.write_bytes(saved(parallel(legacy_model(CONVOLVED))))
    return path


def test_the_command_writes_a_checkpoint_and_shows_what_it_found(legacy, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["import-checkpoint", "legacy.pt", "out.safetensors"]) == 0
    shown = capsys.readouterr().out
    assert load(legacy.with_name("out.safetensors")).config == CONVOLVED
    parameters = sum(parameter.numel() for parameter in legacy_model(CONVOLVED).parameters())
    for expected in ("separate", "ratio 2, 4 groups", f"{parameters:,}", "2 blocks of width 12, 3 heads"):
        assert expected in shown
    for path in (legacy, legacy.with_name("out.safetensors")):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in shown


def test_the_same_facts_come_as_json(legacy, capsys):
    assert main(["import-checkpoint", "legacy.pt", "out.safetensors", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["config"] == json.loads(json.dumps(CONVOLVED.to_dict()))
    assert document["source_sha256"] == hashlib.sha256(legacy.read_bytes()).hexdigest()
    assert set(document["unused"]) == {"inception_model.vis_inception.0.weight", "inception_model.vis_inception.0.bias"}


def test_heads_are_said_for_a_state_dict(legacy, capsys):
    legacy.write_bytes(saved(legacy_model(TINY).state_dict()))
    assert main(["import-checkpoint", "legacy.pt", "out.safetensors"]) == 2
    assert "--heads" in capsys.readouterr().err
    assert main(["import-checkpoint", "legacy.pt", "out.safetensors", "--heads", "3"]) == 0
    assert load(legacy.with_name("out.safetensors")).config == TINY
    assert "note: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["none.pt", "out.safetensors"], "none.pt"),
        (["legacy.pt", "out.pt"], "out.pt"),
        (["half.pt", "out.safetensors"], "half.pt: it is truncated"),
        (["other.pt", "out.safetensors"], "'torch.nn.modules.rnn.LSTM', which no AstroMAE"),
        (["half.safetensors", "./half.safetensors"], "another file"),
    ],
)
def test_a_wrong_file_is_one_sentence_exit_2_and_writes_nothing(words, named, legacy, capsys):
    legacy.with_name("half.pt").write_bytes(legacy.read_bytes()[:9000])
    legacy.with_name("half.safetensors").write_bytes(legacy.read_bytes()[:9000])
    legacy.with_name("other.pt").write_bytes(saved(torch.nn.LSTM(2, 2)))
    before = sorted(legacy.parent.iterdir())
    assert main(["import-checkpoint", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("cosmic import-checkpoint: ")
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert sorted(legacy.parent.iterdir()) == before


@pytest.mark.slow
def test_the_imported_file_is_the_same_in_another_process(legacy):
    code = "import sys; from flows.cli import main; sys.exit(main(sys.argv[1:]))"
    assert main(["import-checkpoint", str(legacy), "one.safetensors"]) == 0
    words = ["import-checkpoint", legacy, legacy.with_name("two.safetensors")]
    subprocess.run([sys.executable, "-c", code, *words], check=True)
    assert legacy.with_name("one.safetensors").read_bytes() == legacy.with_name("two.safetensors").read_bytes()

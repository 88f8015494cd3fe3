import json
import subprocess
import sys

import pytest

from flows.cli import main
from inference.model.checkpoint import content_hash, read_config
from inference.model.config import SMALL, AstroMAEConfig


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_model_new_writes_a_model_of_the_full_size(tmp_path, capsys):
    assert main(["model", "new", "store/bucket/models/full.safetensors"]) == 0
    assert "15,801,513 parameters, 63." in capsys.readouterr().out
    assert read_config(tmp_path / "store/bucket/models/full.safetensors") == AstroMAEConfig()


def test_model_new_tells_its_facts_as_json(tmp_path, capsys):
    assert main(["model", "new", "small.safetensors", "--size", "small", "--seed", "4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    path = tmp_path / "small.safetensors"
    assert (facts["size"], facts["seed"]) == ("small", 4)
    assert (facts["sha256"], facts["bytes"]) == (content_hash(path), path.stat().st_size)
    assert read_config(path) == SMALL


def test_model_new_replaces_another_model_only_when_asked_to(tmp_path, capsys):
    path = tmp_path / "mine.safetensors"
    words = ["model", "new", path.name, "--size", "small"]
    path.write_bytes(b"trained for a week")
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_bytes() == b"trained for a week"
    assert main([*words, "--overwrite"]) == 0
    assert main(words) == 0, "the same model is no other"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["small.pt"], "OUT must end in .safetensors"),
        (["small.safetensors", "--seed", "-1"], "seed"),
        (["s3://Bad Bucket/x.safetensors"], "OUT"),
        (["s3://x.safetensors"], "s3://bucket/key"),
    ],
)
def test_model_new_refuses_wrong_words_and_writes_nothing(words, named, tmp_path, capsys):
    assert main(["model", "new", *words]) == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_model_new_needs_no_torch(tmp_path):
    code = "import sys; sys.modules['torch'] = None; from flows.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["model", "new", "small.safetensors", "--size", "small"]
    assert subprocess.run([sys.executable, "-c", code, *words], check=False).returncode == 0

import json
import shutil

import pytest
import yaml

from flows.cli import main
from inference.contract.run_request import RunRequest
from tests.support.surveys import snapshot


def test_examples_copies_what_a_person_starts_from(tmp_path, capsys):
    assert main(["examples", str(tmp_path / "new")]) == 0
    deployments = tmp_path / "new" / "deployments"
    assert RunRequest.load(deployments / "demo" / "request.json")
    assert yaml.safe_load((deployments / "prefect.yaml").read_text())["deployments"]
    assert json.loads((deployments / "request.schema.json").read_text())["properties"]
    assert (tmp_path / "new" / "sweeps" / "smoke.yaml").is_file()
    assert not any(path.is_symlink() for path in deployments.rglob("*"))
    assert str(tmp_path / "new") in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_examples_overwrites_nothing(kind, tmp_path, capsys):
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    assert main(["examples", str(target)]) == 2
    assert "is not an empty folder: name another" in capsys.readouterr().err


def test_examples_goes_on_where_a_killed_one_ended(tmp_path):
    target = tmp_path / "target"
    assert main(["examples", str(target)]) == 0
    whole = snapshot(target)
    shutil.rmtree(target / "sweeps")  # each folder comes whole or not at all
    assert main(["examples", str(target)]) == 0
    assert snapshot(target).keys() == whole.keys()

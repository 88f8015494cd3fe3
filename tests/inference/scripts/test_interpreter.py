import json
import sys
from pathlib import Path

import pytest

from inference.contract.run_request import RunRequest
from inference.errors import BadInput, RankFailed
from inference.scripts.interpreter import interpreter, lacking_module
from inference.scripts.run_script import run_script
from inference.worker import LocalContext
from tests.support.staged_scripts import WRITES_A_RESULT, local_store, put_script
from tests.support.surveys import request_of


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    return local_store(tmp_path)


@pytest.fixture
def other(tmp_path):
    """An interpreter that says that it is another one."""
    path = tmp_path / "env" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\nOTHER=yes exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def wire(event):
    return event.to_wire() | {"RANK": "3"}


def with_python(event, python):
    return type(event).from_wire(event.to_wire() | {"python": python})


def test_a_script_runs_in_the_interpreter_that_the_event_names(store, other):
    event = with_python(put_script(store, WRITES_A_RESULT), other)
    result = run_script(store, event, wire(event), LocalContext())
    assert result.script_record["seen"]["OTHER"] == "yes"


@pytest.mark.parametrize("named", [True, False])
def test_a_python_that_a_script_starts_by_name_is_its_own(store, other, monkeypatch, named):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    starts = 'import os, subprocess\nprint(subprocess.run(["python", "-c", "import sys"], check=True))\n'
    asks = 'os.environ["CHILD"] = subprocess.check_output(["which", "python"], text=True).strip()\n'
    event = with_python(put_script(store, starts + asks + WRITES_A_RESULT), other if named else "")
    result = run_script(store, event, wire(event), LocalContext())
    assert result.script_record["seen"]["CHILD"] == (other if named else str(Path(sys.executable).with_name("python")))


def test_an_interpreter_is_found_by_its_name_on_the_path(other, monkeypatch):
    monkeypatch.setenv("PATH", other.removesuffix("/python"))
    assert interpreter("python") == other
    assert interpreter("") == sys.executable


def test_an_interpreter_that_is_not_there_is_refused_by_name(store):
    event = with_python(put_script(store, WRITES_A_RESULT), "/nowhere/bin/python")
    with pytest.raises(BadInput, match=r"python: there is no interpreter '/nowhere/bin/python' where the ranks run"):
        run_script(store, event, wire(event), LocalContext())


def test_a_module_that_the_interpreter_lacks_is_named(store):
    event = put_script(store, "import timm_of_nobody.models\n")
    with pytest.raises(RankFailed, match=rf"{sys.executable} has no module timm_of_nobody: install it there"):
        run_script(store, event, wire(event), LocalContext())


def test_a_module_that_a_function_lacks_goes_into_an_image(store, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "cosmic-executor")
    event = put_script(store, "import timm_of_nobody\n")
    with pytest.raises(RankFailed, match=r"the function's \S+ has no module timm_of_nobody: .* --image-uri"):
        run_script(store, event, wire(event), LocalContext())


def test_a_module_that_a_script_only_mentions_is_not_the_cause():
    assert lacking_module("skipped: No module named 'tqdm'\nValueError: no data", "python") == ""


@pytest.mark.parametrize("python", ["env/bin/python", "../python", "./python"])
def test_a_relative_path_says_nothing_on_another_machine(python):
    script = {"script": "/tmp/one/run.py", "S3_object_name": "one", "model": None}
    with pytest.raises(BadInput, match=r"^python must be a name on the PATH of the ranks or an absolute path there"):
        RunRequest.read(request_of(**script, python=python))


def test_an_interpreter_goes_with_a_script_alone():
    with pytest.raises(BadInput, match="python goes with script, which the request lacks"):
        RunRequest.read(request_of(python="python3"))


def test_the_event_of_the_own_interpreter_is_as_it_was(store):
    assert "python" not in json.dumps(put_script(store, WRITES_A_RESULT).to_wire())

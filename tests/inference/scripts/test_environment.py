import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from inference.errors import BadInput, RankFailed
from inference.scripts.environment import python_with
from inference.scripts.run_script import event_for_log, run_script
from inference.worker import LocalContext
from tests.support.staged_scripts import WRITES_A_RESULT, local_store, put_script
from tests.support.wheels import make_wheel, wanting

READS_IT = f"import nobodys, sys\n{WRITES_A_RESULT}".replace("{'total", "{'answer': nobodys.answer, 'total")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("COSMIC_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    return tmp_path / "environments"


@pytest.fixture
def wanted(tmp_path):
    make_wheel(tmp_path / "wheels")
    return wanting(tmp_path / "wheels")


def event_with(event, requirements):
    return replace(event, script=replace(event.script, requirements=requirements))


def test_script_finds_what_its_requirements_name_and_nothing_of_ours(kept, wanted, tmp_path):
    store = local_store(tmp_path)
    lacking = event_with(put_script(store, "import torch_of_nobody\n"), wanted)
    with pytest.raises(RankFailed, match="its environment has no module torch_of_nobody: name the package"):
        run_script(store, lacking, lacking.to_wire(), LocalContext())
    event = event_with(put_script(store, READS_IT), wanted)
    assert event == type(event).from_wire(event.to_wire())
    result = run_script(store, event, event.to_wire(), LocalContext())
    assert result.script_record["answer"] == 42
    python = python_with(wanted)
    assert Path(python).is_relative_to(kept)
    assert subprocess.run([python, "-c", "import numpy"], capture_output=True, check=False).returncode == 1


def test_environment_is_made_once_by_any_number_at_once(kept, wanted):
    found = []
    askers = [threading.Thread(target=lambda: found.append(python_with(wanted))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    made = Path(found[0]).parents[1] / "installed.txt"
    assert len(set(found)) == 1
    assert made.read_text() == "nobodys==1.0\n"
    before = made.stat().st_mtime_ns
    assert python_with(f"# a remark\n{wanted}\n") == found[0]
    assert made.stat().st_mtime_ns == before


def test_half_an_environment_of_a_killed_process_is_made_anew(kept, wanted, monkeypatch):
    monkeypatch.setattr("inference.scripts.environment._make", lambda folder, _: (folder / "bin").mkdir(parents=True))
    python = Path(python_with(wanted))
    monkeypatch.undo()
    monkeypatch.setenv("COSMIC_ENVIRONMENTS", str(kept))
    assert python_with(wanted) == str(python)
    assert subprocess.run([python, "-c", "import nobodys"], check=False).returncode == 0


def test_package_that_does_not_exist_is_named_and_nothing_is_kept(kept, wanted):
    with pytest.raises(BadInput, match=r"^script_environment: .*: No matching distribution found for nobodys==2\.0$"):
        python_with(wanted.replace("1.0", "2.0"))
    assert [path.suffix for path in kept.iterdir()] == [".lock"]


def test_place_that_cannot_be_written_fails_the_rank_by_name(monkeypatch, tmp_path, wanted):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COSMIC_ENVIRONMENTS", str(tmp_path / "file" / "below"))
    with pytest.raises(RankFailed, match=r"script_environment: nothing can be written to .*/file/below"):
        python_with(wanted)


def test_function_is_given_the_image_to_use(kept, wanted, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "cosmic-executor")
    with pytest.raises(BadInput, match=r"script_environment: a function installs nothing: .* --image-uri"):
        python_with(wanted)


def test_log_has_no_password_of_a_package_index(tmp_path):
    event = event_with(put_script(local_store(tmp_path), "pass"), "--index-url https://me:canary@example.org/simple\n")
    assert "canary" not in str(event_for_log(event.to_wire(), event))

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.cli import main
from inference.partitions.partition import write_partition
from tests.support.surveys import random_survey, request_of, snapshot

pytestmark = pytest.mark.slow
COSMIC = str(Path(sys.executable).with_name("cosmic"))


@pytest.fixture
def cosmic(tmp_path, store, prefect_server):
    """Run the command in a process of its own, against the session's server unless the environment names another."""

    def call(*words, request=None, **environment):
        path = tmp_path / "request.json"
        path.write_text(json.dumps(request_of() if request is None else request))
        words = [str(path) if word == "REQUEST" else word for word in words]
        chosen = {"PREFECT_API_URL": prefect_server} | environment
        variables = {name: value for name, value in (os.environ | chosen).items() if value is not None}
        return subprocess.run(
            [COSMIC, *words, "--store", str(store)],
            capture_output=True,
            text=True,
            env=variables,
            cwd=tmp_path,
            timeout=240,
        )

    return call


@pytest.fixture
def cosmic_here(tmp_path, store, prefect_api, capsys):
    """Run the command in this process, which has imported Prefect already, against the session's server."""

    def call(*words):
        path = tmp_path / "request.json"
        path.write_text(json.dumps(request_of()))
        capsys.readouterr()
        code = main([*(str(path) if word == "REQUEST" else word for word in words), "--store", str(store)])
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return call


def test_json_alone_is_on_stdout_and_a_finished_request_needs_no_prefect(cosmic, store):
    first = cosmic("run", "REQUEST", "--workers", "2", "--json")
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert document["ranks_done"] == 4
    assert Path(document["report"]).is_file()
    before = snapshot(store)
    again = cosmic("run", "REQUEST", "--json", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert again.stderr == "Every rank is done, from these partitions, model and settings; this is their summary.\n"
    assert snapshot(store) == before


def test_a_person_sees_tables_with_units_and_where_the_report_is(cosmic_here, store, capsys, monkeypatch):
    done = cosmic_here("run", "REQUEST", "--workers", "0")
    assert done.returncode == 0, done.stderr
    for word in ("ranks done", "galaxies/s", "makespan", "NMAD", "survey/3.pt", "an estimate", "report.html"):
        assert word in done.stdout
    words = ["cost", "cosmicai-test/results/test", "--store", str(store)]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "billed"
    monkeypatch.setenv("COLUMNS", "120")
    assert main([*words, "--method", "as-printed"]) == 0
    assert "invocations x total duration x used memory" in capsys.readouterr().out


def test_wrong_input_exits_with_2_and_writes_nothing(cosmic, store):
    before = snapshot(store)
    done = cosmic("run", "REQUEST", request=request_of(batch_size="abc"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cosmic run: the request ")
    assert done.stderr.endswith(".json: batch_size must be a whole number, not 'abc'\n")
    assert snapshot(store) == before


def test_an_incomplete_run_exits_with_1_and_names_file_and_rank(cosmic_here, store):
    path = store / "cosmicai-test" / "survey" / "2.pt"
    path.write_bytes(path.read_bytes()[:3000])
    done = cosmic_here("run", "REQUEST", "--json", "--workers", "0")
    assert done.returncode == 1
    assert json.loads(done.stdout)["missing_ranks"] == [1]
    last = done.stderr.splitlines()[-1]
    assert "rank 1: " in last
    assert "survey/2.pt" in last
    assert "Traceback" not in done.stderr


def full_store(tmp_path, who):
    """A sitecustomize that lets the processes of which `who` is true write files of 9 kB at most, as a full disk would.

    That is room for the ranks' records, not for the redshifts of 500 galaxies, nor for a report.
    """
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import resource, sys\nif {who}: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
    )
    return str(folder)


@pytest.mark.parametrize(
    ("runner", "who", "named"),
    [
        (
            "cosmic_here",
            "'inference.worker' in sys.orig_argv",
            ["1 of 4 ranks is missing", "rank 2: ", "predictions/2."],
        ),
        pytest.param(
            "cosmic",
            "True",
            ["rank 2: ", "predictions/2.", "cannot write cosmicai-test/results/test/"],
            marks=pytest.mark.soak,
        ),
    ],
    ids=["while ranks run", "and has no room for the report either"],
)
def test_a_store_that_fills_up_fails_by_name_and_keeps_the_other_ranks(
    request, store, tmp_path, monkeypatch, runner, who, named
):
    write_partition(store / "cosmicai-test" / "survey" / "3.pt", *random_survey(500))
    monkeypatch.setenv("PYTHONPATH", full_store(tmp_path, who))
    done = request.getfixturevalue(runner)("run", "REQUEST", "--workers", "1")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for words in named:
        assert words in done.stderr
    results = store / "cosmicai-test" / "results" / "test"
    assert {path.name for path in results.glob("[0-9]*.json")} == {"0.json", "1.json", "3.json"}


def test_a_worker_killed_from_outside_is_replaced_and_its_rank_retried(cosmic_here):
    killed = []

    def kill_the_first():
        for _ in range(2000):
            for worker in workers_of(os.getpid()):
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    done = cosmic_here("run", "REQUEST", "--workers", "1", "--json")
    killer.join()
    assert killed
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["ranks_done"] == 4
    assert document["missing_ranks"] == []


def workers_of(parent):
    """Processes that run inference.worker and were started by `parent`."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes()
                started_by = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b"inference.worker" in command and started_by == str(parent):
                yield int(folder.name)

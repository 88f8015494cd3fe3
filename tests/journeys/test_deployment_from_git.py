"""A deployment whose code a worker clones from git, on a worker that has the libraries and not the project."""

import json
import shutil
import subprocess

import pytest

from tests.support.prefect_command import ROOT, PrefectCommand, python_without_the_project
from tests.support.surveys import request_of

pytestmark = pytest.mark.soak
FOLDERS = ("flows", "tasks", "inference", "benchmarks/sweeps", "deployments")


@pytest.fixture
def repository(tmp_path):
    """A git repository of the sources as they are; its address."""
    folder = tmp_path / "repository"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    (folder / "flows" / "marker.txt").write_text("cloned")
    for words in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["add", "--all"],
        ["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "sources"],
    ):
        subprocess.run(["/usr/bin/env", "git", *words], cwd=folder, check=True)
    return f"file://{folder}"


def test_worker_clones_the_code_and_completes_the_run(repository, prefect_server, store, tmp_path):
    prefect = PrefectCommand(prefect_server, tmp_path / "home", COSMIC_REPOSITORY=repository, COSMIC_BRANCH="main")
    prefect.make_pool("local")
    prefect("deploy", "--prefect-file", "deployments/git/prefect.yaml", "--name", "git-local")
    python = python_without_the_project(tmp_path)
    command = [python, "-m", "prefect"]
    log = tmp_path / "worker.log"
    prefect.run_to_completion(
        "run/git-local", "local", log, command=command, request=request_of(), store=str(store), workers=1
    )
    summary = json.loads((store / "cosmicai-test" / "results" / "test" / "summary.json").read_text())
    assert summary["missing_ranks"] == []

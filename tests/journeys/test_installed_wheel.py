"""The package installed from a wheel, without torch and in an empty folder: nothing of the checkout is on the path."""

import json
import shutil
import subprocess
import sys

import pytest

from flows.cli import COMMANDS
from tests.support.prefect_command import ROOT, python_without_the_project

pytestmark = pytest.mark.soak
SOURCES = ("flows", "tasks", "inference", "deployments", "benchmarks", "docs")
FILES = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "prefect.yaml")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment with the wheel, every library and no torch."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.onnx")
        )
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = folder / "wheels"
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, folder], check=True)
    interpreter = python_without_the_project(folder, "torch")
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "--python", interpreter, "install", "--no-deps", "--no-index", wheel], check=True)
    shutil.rmtree(wheels)
    for name in SOURCES:
        shutil.rmtree(folder / name)
    return interpreter


@pytest.fixture
def cosmic(python, tmp_path):
    """Run a command in an empty folder."""

    def call(*words, code=0):
        ended = subprocess.run(
            [python, "-c", "from flows.cli import main; raise SystemExit(main())", *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout if code == 0 else ended.stderr

    return call


def test_wheel_gives_the_demo_without_torch(cosmic, tmp_path, prefect_server, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    store = tmp_path / "store"
    cosmic("examples", "examples")
    cosmic("init", "cosmicai-demo", "--store", store)
    cosmic("simulate", "--samples", "60", "--out", "survey.pt", "--workers", "1")
    cosmic("partition", "survey.pt", "--samples", "30", "--to", store / "cosmicai-demo" / "survey")
    out = cosmic("run", "examples/deployments/demo/request.json", "--store", store, "--workers", "1", "--json")
    assert json.loads(out)["samples"] == 60


def test_wheel_finds_its_sweeps_and_its_stack(cosmic):
    assert "batch" in cosmic("bench", "smoke", "--dry-run")
    assert "cosmic-executor" in cosmic(
        "emulate",
        "--",
        "python",
        "-c",
        "from tasks.aws.session import client;"
        "print([each['FunctionName'] for each in client('lambda').list_functions()['Functions']])",
    )


def test_every_command_of_the_wheel_starts_without_torch(python, tmp_path):
    code = f"""
import sys
from flows.cli import main
for name in {list(COMMANDS)}:
    try:
        main([name, "--help"])
    except SystemExit as ended:
        assert not ended.code, name
"""
    subprocess.run([python, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    "words", [["train", "survey", "--to", "model"], ["import-checkpoint", "legacy.pt", "new.safetensors"]]
)
def test_command_that_needs_torch_names_the_extra(words, cosmic, tmp_path):
    (tmp_path / "legacy.pt").write_bytes(b"PK\x03\x04")
    assert "pip install 'cosmic-flows[train]'" in cosmic(*words, code=2)

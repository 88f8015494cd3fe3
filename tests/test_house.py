"""The layout is the architecture: imports go down only, and what must stay light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ABOVE = {"inference": {"tasks", "flows"}, "tasks": {"flows"}, "flows": set()}
HEAVY_FOR_A_FUNCTION = {"prefect", "pandas", "matplotlib"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", ABOVE)
def test_no_import_goes_up_the_house(room):
    for path in sorted((ROOT / room).rglob("*.py")):
        up = ABOVE[room] & set(imported(path))
        assert not up, f"{path.relative_to(ROOT)} imports {up}"


def test_what_runs_in_a_function_imports_no_prefect_pandas_or_matplotlib():
    for path in sorted((ROOT / "inference").rglob("*.py")):
        heavy = HEAVY_FOR_A_FUNCTION & set(imported(path))
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("inference.handler", HEAVY_FOR_A_FUNCTION | {"torch", "onnxruntime", "tasks", "flows"}),
        ("inference.worker", HEAVY_FOR_A_FUNCTION | {"torch", "onnxruntime", "tasks", "flows"}),
        ("flows.cli", {"prefect", "torch", "numpy", "pandas", "rich", "pydantic"}),
    ],
)
def test_importing_stays_light(module, unwanted):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not unwanted & {name.split(".")[0] for name in loaded}


def test_no_module_outgrows_one_head():
    for room in ABOVE:
        for path in (ROOT / room).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 350, path


def test_the_deployments_folder_is_data():
    assert not list((ROOT / "deployments").rglob("*.py"))

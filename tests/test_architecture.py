"""The layout is the architecture: who may import whom, and what must stay light.

`docs/architecture.md` holds the table of floors and the diagram; both are checked here.
"""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOPS = ("inference", "tasks", "flows")

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def floors_of_the_page():
    """{top folder: its floors from the ground up, each a set of members}, read from the page's table."""
    table = PAGE.partition("| floor |")[2].partition("\n\n")[0]
    columns = re.findall(r"`(\w+)/`", table.splitlines()[0])
    floors = {top: [] for top in columns}
    for row in table.splitlines()[2:]:
        _, _, *cells, _ = row.split("|")
        for top, cell in zip(columns, cells, strict=True):
            if cell.strip():
                floors[top].insert(0, {name.strip() for name in cell.split(",")})
    return floors


FLOORS = floors_of_the_page()
STEPS = "the steps"  # the modules at the top of tasks/, above all folders
HEAVY_FOR_A_FUNCTION = {"prefect", "pandas", "matplotlib"}
TORCH_MODULES = {
    "inference/engines/cuda_kernels.py",
    "inference/engines/cuda_model.py",
    "inference/engines/torch_engine.py",
    "inference/model/astromae.py",
}
TEST = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
LAZY_TORCH_MODULES = {"inference/model/checkpoint.py"}  # inside functions


def sources(top):
    return [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / top).rglob("*.py"))]


@cache
def imported(path):
    """Dotted names that a module imports, wherever in it; `from a.b import c` counts as a.b.c."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def member(dotted):
    """The folder or module that a dotted name of the project belongs to, and its floor in its top folder."""
    top, _, rest = dotted.partition(".")
    first = rest.split(".")[0]
    if top == "tasks" and not (ROOT / "tasks" / first).is_dir():
        return top, STEPS, len(FLOORS["tasks"])
    floors = [number for number, group in enumerate(FLOORS[top]) if first in group]
    assert floors, f"{dotted} is on no floor: name its place in docs/architecture.md"
    return top, first, floors[0]


def dotted(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("top", TOPS)
def test_imports_between_top_folders_go_down(top):
    above = TOPS[TOPS.index(top) + 1 :]
    for path in sources(top):
        up = [name for name in imported(path) if name.split(".")[0] in above]
        assert not up, f"{path} imports {up}"


@pytest.mark.parametrize("top", FLOORS)
def test_imports_between_folders_go_down(top):
    wrong = []
    for path in sources(top):
        if path == f"{top}/__init__.py":
            continue
        _, own, floor = member(dotted(path))
        for name in imported(path):
            if name.startswith(f"{top}."):
                _, other, below = member(name)
                if own != other and below > floor:
                    wrong.append(f"{path} imports {name}")
    assert not wrong, "\n".join(wrong)


def circles(arrows):
    """Members that import each other in a loop, by depth-first search."""
    done, found = set(), []

    def visit(node, trail):
        if node in trail:
            found.append([*trail[trail.index(node) :], node])
        elif node not in done:
            for target in sorted(arrows.get(node, ())):
                visit(target, [*trail, node])
            done.add(node)

    for node in sorted(arrows):
        visit(node, [])
    return found


def test_no_folders_import_each_other_in_a_circle():
    arrows = {}
    for top in FLOORS:
        for path in sources(top):
            if path == f"{top}/__init__.py":
                continue
            own = member(dotted(path))[1]
            targets = {member(name)[1] for name in imported(path) if name.startswith(f"{top}.")}
            arrows.setdefault(f"{top}.{own}", set()).update(f"{top}.{other}" for other in targets - {own})
    assert not circles(arrows)


def test_no_modules_import_each_other_in_a_circle():
    paths = [path for top in TOPS for path in sources(top)]
    modules = {dotted(path) for path in paths}

    def module_of(name):
        return name if name in modules else name.rpartition(".")[0]

    arrows = {
        dotted(path): {module_of(name) for name in imported(path) if name.split(".")[0] in TOPS} - {dotted(path)}
        for path in paths
    }
    assert not circles(arrows)


def test_prefect_is_imported_by_flows_steps_and_prefect_support_alone():
    for path in [*sources("inference"), *sources("tasks")]:
        if (path.count("/") == 1 and path.startswith("tasks/")) or path.startswith("tasks/prefect_support/"):
            continue
        used = [name for name in imported(path) if name.split(".")[0] in {"prefect", "prefect_aws"}]
        assert not used, f"{path} imports {used}"


def test_artifacts_are_published_by_prefect_support_alone():
    for path in [*sources("tasks"), *sources("flows")]:
        if path != "tasks/prefect_support/artifacts.py":
            used = [name for name in imported(path) if name.startswith("prefect.artifacts")]
            assert not used, f"{path} imports {used}: tasks.prefect_support.artifacts outlives the server"


def test_what_runs_in_a_function_imports_no_heavy_library():
    for path in sources("inference"):
        heavy = HEAVY_FOR_A_FUNCTION & {name.split(".")[0] for name in imported(path)}
        assert not heavy, f"{path} imports {heavy}"


def test_torch_is_imported_by_the_torch_engine_and_the_model_alone():
    using = {path for path in sources("inference") if "torch" in {name.split(".")[0] for name in imported(path)}}
    assert using <= TORCH_MODULES | LAZY_TORCH_MODULES


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


def test_json_is_parsed_in_one_place_alone():
    words_of_a_command_line = "flows/cli/commands/train.py"  # --set FIELD=VALUE: text where it is no JSON
    parsing = {
        path
        for top in TOPS
        for path in sources(top)
        if re.search(r"\bjson\.loads?\(|\.from_json\(", (ROOT / path).read_text())
    }
    assert parsing == {"inference/contract/json_text.py", words_of_a_command_line}


def test_no_module_is_longer_than_350_lines():
    for top in TOPS:
        for path in sources(top):
            assert len((ROOT / path).read_text().splitlines()) <= 350, path


def test_architecture_page_names_only_what_exists():
    named = {name for name in re.findall(r"[\"`]((?:\w+/)+[\w.]*)[\"`]", PAGE) if not name.startswith("predictions/")}
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_architecture_page_names_the_one_place_of_each_rule():
    names = re.findall(r"`((?:inference|tasks)(?:\.\w+)+)`", PAGE.partition("## One rule, one place")[2])
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.rpartition(".")
        path = ROOT / f"{name.replace('.', '/')}.py"
        assert path.exists() or hasattr(importlib.import_module(module), attribute), name


def test_architecture_page_draws_only_imports_that_exist():
    nodes = dict(re.findall(r'(\w+)\["([^"]+)"\]', PAGE))
    chains = re.findall(r"^ +(\w[^\n]* --> [^\n]*)$", re.sub(r'\["[^"]+"\]', "", PAGE), re.MULTILINE)
    pairs = [pair for chain in chains for pair in pairwise(chain.split(" --> "))]
    assert len(pairs) > 8
    for source, targets in pairs:
        place = nodes[source]
        names = {name for path in ([place] if place.endswith(".py") else sources(place)) for name in imported(path)}
        for target in targets.split(" & "):
            wanted = dotted(nodes[target])
            assert any(f"{name}.".startswith(f"{wanted}.") for name in names), f"{source} does not import {target}"


def test_no_test_name_is_longer_than_70_characters():
    written = (name for path in (ROOT / "tests").rglob("test_*.py") for name in TEST.findall(path.read_text()))
    assert not [name for name in written if len(name) > 70]


def test_the_deployments_folder_is_data():
    assert not list((ROOT / "deployments").rglob("*.py"))

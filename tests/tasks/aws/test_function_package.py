import io
import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from inference.errors import BadInput
from inference.model.checkpoint import content_hash
from tasks.aws import function_package as package
from tasks.aws.function_package import NOT_IN_A_FUNCTION, build, zip_package
from tests.support.surveys import SIZES
from tests.test_architecture import imported

ROOT = Path(__file__).parents[3]
PLACE = ROOT / "deployments" / "aws"


def names(data):
    return set(zipfile.ZipFile(io.BytesIO(data)).namelist())


def test_the_package_holds_the_functions_code_and_no_weights():
    found = names(zip_package(None))
    assert {"inference/handler.py", "inference/state_machine.py", "inference/scripts/run_script.py"} <= found
    assert all(name.startswith("inference/") and name.endswith(".py") for name in found)


def reached(entries):
    """The files of `inference` that these entries import, directly or not, apart from those left out."""
    found, todo = set(), list(entries)
    while todo:
        path = todo.pop()
        if path in found | NOT_IN_A_FUNCTION or not (ROOT / path).exists():
            continue
        found.add(path)
        for name in imported(path):
            module = name.replace(".", "/")
            todo += [f"{module}.py", f"{module.rpartition('/')[0]}.py"]
    return found


def test_package_leaves_out_what_no_function_imports(tmp_path):
    entries = ["inference/handler.py", "inference/state_machine.py", "inference/messages/communicator.py"]
    entries.append("inference/messages/for_scripts/fmi.py")  # a staged script imports these two by itself
    found = {name for name in names(zip_package(tmp_path)) if not name.endswith("__init__.py")}
    assert found == {name for name in reached(entries) if not name.endswith("__init__.py")}
    assert all((ROOT / name).exists() for name in NOT_IN_A_FUNCTION)


def test_the_same_code_is_the_same_bytes():
    assert zip_package(None) == zip_package(None)


def test_libraries_lie_beside_the_code_without_their_tests_and_caches(tmp_path):
    for name in ("numpy/core.py", "numpy/tests/test_core.py", "numpy/__pycache__/core.pyc", "numpy.libs/libblas.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = {name for name in names(zip_package(tmp_path)) if not name.startswith("inference/")}
    assert found == {"numpy/core.py", "numpy.libs/libblas.so"}


def test_what_lambda_would_not_take_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "LIMIT_MB", 0.01)
    with pytest.raises(BadInput, match=r"Lambda takes 0\.01: use an image and --image-uri"):
        zip_package(tmp_path)


def test_without_a_checkout_there_is_nothing_to_deploy(tmp_path):
    with pytest.raises(BadInput, match="install the package anew"):
        build(tmp_path / "deployments" / "aws", "x86_64")


def test_the_functions_need_no_library_that_is_not_named():
    """Whatever the functions import, apart from the standard library, comes with what requirements.txt names."""
    named = set((PLACE / "requirements.txt").read_text().split())
    brought = {"annotated_types", "arro3", "pydantic_core", "typing_extensions", "typing_inspection", "flatbuffers"}
    brought |= {"google", "packaging"}  # by those named
    code = """
import json, sys
import inference.handler, inference.state_machine, inference.scripts.run_script
import inference.rank_results.predictions, onnxruntime
files = {name.split(".")[0]: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
print(json.dumps([name for name, file in files.items() if "site-packages" in file]))
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    of_this_environment = {"_distutils_hack", "_virtualenv"}
    found = {name for name in json.loads(output) if not name.startswith("__editable__")} - of_this_environment
    assert found <= named | brought
    assert "torch" not in named


def brought_by(names):
    """The distributions that these ones need, themselves included."""
    found, todo = {}, list(names)
    while todo:
        name = todo.pop().lower()
        if name not in found:
            found[name] = distribution(name)
            wanted = [line for line in found[name].requires or () if "extra ==" not in line]
            todo += [re.match(r"[\w.-]+", line)[0] for line in wanted]
    return found.values()


@pytest.mark.slow
def test_package_with_the_required_libraries_alone_runs_a_rank(tmp_path, store):
    (tmp_path / "function.zip").write_bytes(zip_package(libraries := tmp_path / "libraries"))
    libraries.mkdir()
    for library in brought_by((PLACE / "requirements.txt").read_text().split()):
        for name in {file.parts[0] for file in library.files if file.parts[0] != ".."} - {"__pycache__"}:
            if not (libraries / name).exists():
                (libraries / name).symlink_to(library.locate_file(name))
    (graph,) = (store / "cosmicai-test" / "models").glob("*.onnx")
    event = {
        "S3_BUCKET": "cosmicai-test",
        "WORLD_SIZE": "1",
        "RANK": "0",
        "DATA_BUCKET": "cosmicai-test",
        "DATA_PREFIX": "survey",
        "DATA_PATH": "survey/1.pt",
        "RESULT_PATH": "results/alone",
        "BATCH_SIZE": 16,
        "store": str(store),
        "model": "models/tiny.safetensors",
        "model_sha256": content_hash(store / "cosmicai-test" / "models" / "tiny.safetensors"),
        "graph": f"models/{graph.name}",
        "engine": "onnxruntime",
    }
    code = """
import json, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from inference.handler import lambda_handler
print(json.dumps(lambda_handler(json.loads(sys.argv[3]), None)))
assert "torch" not in sys.modules
Path(sys.argv[4]).unlink()
for wrong in ({"graph": None}, {"graph": None, "engine": "torch"}):
    try:
        lambda_handler({**json.loads(sys.argv[3]), **wrong, "RESULT_PATH": "results/other"}, None)
    except Exception as error:
        print(type(error).__name__, error)
"""
    alone = [sys.executable, "-I", "-S", "-c", code, tmp_path / "function.zip", libraries, json.dumps(event), graph]
    ended = subprocess.run(alone, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    result, no_graph, no_torch = ended.stdout.splitlines()
    assert json.loads(result)["samples"] == SIZES[0]
    assert no_graph == (
        "BadInput graph: tiny.safetensors comes without its exported graph, and nothing can be exported here:"
        " name it in the event (`cosmic run` exports and names it)"
    )
    assert no_torch.startswith("BadInput engine torch needs torch, which is not installed")

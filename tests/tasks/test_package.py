import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from inference.errors import BadInput
from tasks import package
from tasks.package import build, zip_package

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deployments" / "aws"


def names(data):
    return set(zipfile.ZipFile(io.BytesIO(data)).namelist())


def test_the_package_holds_the_functions_code_and_no_weights():
    found = names(zip_package(None))
    assert {"inference/handler.py", "inference/functions.py", "inference/script.py"} <= found
    assert all(name.startswith("inference/") and name.endswith(".py") for name in found)


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
    with pytest.raises(BadInput, match="needs a checkout"):
        build(tmp_path / "deployments" / "aws", "x86_64")


def test_the_functions_need_no_library_that_is_not_named():
    """Whatever the functions import, apart from the standard library, comes with what requirements.txt names."""
    named = set((PLACE / "requirements.txt").read_text().split())
    brought = {"annotated_types", "arro3", "pydantic_core", "typing_extensions", "typing_inspection", "flatbuffers"}
    brought |= {"google", "packaging"}  # by those named
    code = """
import json, sys
import inference.handler, inference.functions, inference.script, inference.predictions, onnxruntime
files = {name.split(".")[0]: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
print(json.dumps([name for name, file in files.items() if "site-packages" in file]))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    of_this_environment = {"_distutils_hack", "_virtualenv"}
    found = {name for name in json.loads(told) if not name.startswith("__editable__")} - of_this_environment
    assert found <= named | brought
    assert "torch" not in named

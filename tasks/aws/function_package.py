"""The functions' code as a zip file: this project's `inference`, and the libraries that it needs in a function."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path, PurePath

from inference.errors import BadInput
from inference.storage.temporary import temporary_folder

LIMIT_MB = 250.0  # MB of 1,048,576 bytes, unzipped (Lambda quotas, "Deployment package size")
# The first of Lambda's Pythons whose Linux has a libc that numpy and onnxruntime load with: they want 2.28, Lambda's
# Python 3.11 has 2.26 (Amazon Linux 2). stack.yaml and the Dockerfile name it, too.
PYTHON = "3.12"
_WHEELS = {"x86_64": "manylinux2014_x86_64", "arm64": "manylinux2014_aarch64"}
_LEFT_OUT = {"__pycache__", "tests", "test", "weights"}
_TIME = (1980, 1, 1, 0, 0, 0)  # the same files give the same bytes
# Modules of `inference` that a function with the libraries of requirements.txt never runs: they need torch or onnx, or
# serve workers and flows. An image (Dockerfile) has all of `inference`: another that adds torch may be built upon it.
NOT_IN_A_FUNCTION = {
    "inference/contract/tolerance.py",
    "inference/engines/cuda_kernels.py",
    "inference/engines/cuda_model.py",
    "inference/engines/torch_engine.py",
    "inference/model/astromae.py",
    "inference/model/onnx_builder.py",
    "inference/model/onnx_graph.py",
    "inference/runs/finished.py",
    "inference/storage/worker_pool.py",
    "inference/storage/writable.py",
    "inference/worker.py",
}


def inference_files() -> Iterator[tuple[str, Path]]:
    """The files of `inference`, by their names in the zip; weights are staged by each run."""
    root = Path(str(files("inference")))
    for path in sorted(root.rglob("*.py")):
        yield f"inference/{path.relative_to(root).as_posix()}", path


def zip_package(libraries: Path | None) -> bytes:
    """A zip file of `inference` and a folder of libraries; the same content gives the same bytes.

    Args:
        libraries: those of requirements.txt, and of `inference` what runs with them; None is for the emulator, whose
            functions have this environment's libraries, torch where it is installed, and all of `inference`.

    Raises:
        BadInput: it would be too large for Lambda.
    """
    found = dict(inference_files())
    if libraries is not None:
        found = {name: path for name, path in found.items() if name not in NOT_IN_A_FUNCTION}
        found |= {path.relative_to(libraries).as_posix(): path for path in _wanted(libraries)}
    size = sum(path.stat().st_size for path in found.values()) / 2**20
    if size > LIMIT_MB:
        raise BadInput(
            f"the functions come to {size:.0f} MB unzipped, Lambda takes {LIMIT_MB:g}: use an image and --image-uri"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(found.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def is_wanted(path: PurePath) -> bool:
    """Whether a function needs a library's file, by its name in the folder of libraries."""
    return path.suffix != ".pyc" and not _LEFT_OUT & set(path.parts[:-1])


def _wanted(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and is_wanted(path.relative_to(folder)))


def install_libraries(folder: Path, requirements: Path, constraints: Path, architecture: str) -> None:
    """Install what a function needs, as wheels for Lambda's Linux, whatever machine this is.

    Args:
        folder: where to.
        requirements: deployments/aws/requirements.txt.
        constraints: their versions.
        architecture: `x86_64` or `arm64`.

    Raises:
        BadInput: pip cannot; the message is its last line.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--target", str(folder), "--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    for platform in (_WHEELS[architecture], _WHEELS[architecture].replace("2014", "_2_28")):
        command += ["--platform", platform]
    command += ["-r", str(requirements), "-c", str(constraints)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BadInput(f"the functions' libraries cannot be installed: {last}")


def build(place: Path, architecture: str) -> bytes:
    """The whole package for a real function.

    Args:
        place: deployments/aws, of a checkout or of the installed package; constraints.txt lies beside it.
        architecture: `x86_64` or `arm64`.

    Raises:
        BadInput: a file is missing; or see `install_libraries` and `zip_package`.
    """
    requirements, constraints = place / "requirements.txt", place.parent / "constraints.txt"
    if not requirements.exists() or not constraints.exists():
        raise BadInput(f"{place.parent} lacks aws/requirements.txt or constraints.txt: install the package anew")
    with temporary_folder("package") as folder:
        install_libraries(folder, requirements, constraints, architecture)
        return zip_package(folder)

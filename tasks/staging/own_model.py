"""A model of somebody's own, tried in a process that may take so much time and memory and no more.

To look at an `.onnx` file is to run it: its loops need not end, its tensors have any size, and onnxruntime, which has
no limits of its own, may die of it. `python -m tasks.staging.own_model FILE ENGINE PRECISION` is that process.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inference.contract.json_text import parse_json
from inference.contract.validation import sanitize_text
from inference.errors import BadCheckpoint, BadInput
from inference.model.onnx_file import check_onnx_file
from inference.model.training_data import TrainingData

_CPU_S, _BYTES_A_S = 8, 20e6  # seconds of a processor for any model, and for each second more the bytes of its file
_MEMORY, _COPIES = 900_000_000, 6  # bytes for any model, and copies of the file that reading and optimizing it take
_BUSY = 20  # so many times the processor's seconds may pass on the clock
_NO_FILE = 1 << 31  # an ONNX file has less; a larger one is refused by its size


@dataclass(frozen=True)
class OwnModel:
    """What a run needs to know of an `.onnx` file; the attributes are those of its engine."""

    image_shape: tuple[int, int, int]
    gives_uncertainty: bool
    training_data: TrainingData | None


def look_at_own_model(path: Path, engine: str = "onnxruntime", precision: str = "float32") -> OwnModel:
    """Check an `.onnx` file and run it on five galaxies.

    Raises:
        BadCheckpoint: it is no model of photometric redshifts, takes too much time or memory, or ends its process.
        BadInput: another engine or precision than such a file has.
    """
    size = min(path.stat().st_size, _NO_FILE) if path.is_file() else 0
    cpu_s, memory = _CPU_S + int(size / _BYTES_A_S), _MEMORY + _COPIES * size
    words = [sys.executable, "-P", "-m", __name__, str(path), engine, precision, str(cpu_s), str(memory)]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            timeout=cpu_s * _BUSY,
            check=False,
        )
        code, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        code, said = -signal.SIGXCPU, b""
    if code == -signal.SIGXCPU:
        raise BadCheckpoint(
            f"{path} takes more than {cpu_s} s of a processor to load and to run on five galaxies, which its size does"
            " not explain: look for loops and for constants that are computed, or export it anew"
        )
    try:
        found = parse_json(said, str(path))
        if "error" in found:
            raise (BadCheckpoint if found["is_bad"] else BadInput)(found["error"])
        trained = None if found["training_data"] is None else TrainingData.from_dict(found["training_data"])
        return OwnModel(tuple(found["image_shape"]), found["gives_uncertainty"], trained)
    except (BadInput, TypeError, KeyError) as error:
        if code == 0:
            raise
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise BadCheckpoint(
            f"{path} ends the process that tries it ({name}), with {memory / 1e9:.1f} GB of memory for it: onnxruntime"
            " cannot run it; export it anew"
        ) from error


def _try(path: Path, engine: str, precision: str) -> dict[str, object]:
    """What `look_at_own_model` returns, or the error that it raises, as JSON has it."""
    from inference.engines.load import open_engine

    try:
        check_onnx_file(path)
        opened = open_engine(engine, path, threads=1, precision=precision)
    except BadInput as error:
        return {"error": sanitize_text(error).replace("\n", " "), "is_bad": isinstance(error, BadCheckpoint)}
    except MemoryError:
        return {"error": f"{path} needs more memory than a model of its size may take", "is_bad": True}
    trained = opened.training_data
    return {
        "image_shape": opened.image_shape,
        "gives_uncertainty": opened.gives_uncertainty,
        "training_data": None if trained is None else trained.to_dict(),
    }


def _limit(cpu_s: int, memory: int) -> None:
    """Hold this process to so much; where a system does not know a limit, time on the clock is left."""
    import resource

    for kind, most in ((resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


if __name__ == "__main__":
    _limit(int(sys.argv[4]), int(sys.argv[5]))
    sys.stdout.write(json.dumps(_try(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))

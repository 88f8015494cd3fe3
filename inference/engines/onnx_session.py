"""A graph in onnxruntime, with one thread: an engine gives each part of a batch a thread of its own.

A part is small enough that what its layers hand on stays in a core's own cache, and a core computes a part by itself:
cores that share each layer wait for one another at its end.
"""

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnxruntime

from inference.contract.validation import sanitize_text
from inference.errors import BadCheckpoint

# What onnxruntime says before the cause: a code, the file, a line of its source and the function there.
_PLACE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?(?:/\S+:\d+ )?"
    r"(?:(?:\w+ )?\S*onnxruntime::.*?\) )?"
)
_PART = 32  # galaxies: 2 MB of the published model's widest activations
_SMALLEST_PART, _SHARES = 8, 8


def open_session(graph: Path) -> Any:
    """Load a graph.

    Raises:
        BadCheckpoint: onnxruntime cannot run it.
    """
    options = onnxruntime.SessionOptions()
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its errors have no common base
        reason = _PLACE.sub("", sanitize_text(error).split("\n", 1)[0])
        raise BadCheckpoint(f"{graph} is no graph that onnxruntime can run: {reason:.200}") from None


def parts_of(count: int) -> list[slice]:
    """Parts of nearly one size: enough for a function's six cores if that leaves them any work to speak of.

    They do not depend on the threads, so that the same batch gives the same redshifts, bit for bit, on any machine
    with the same processor.

    >>> parts_of(20)
    [slice(0, 6, None), slice(6, 13, None), slice(13, 20, None)]
    """
    size = min(max(count / _SHARES, _SMALLEST_PART), _PART)
    number = math.ceil(count / size)
    ends = [count * part // number for part in range(number + 1)] if number else [0]
    return [slice(start, end) for start, end in pairwise(ends)]

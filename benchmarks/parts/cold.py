"""The cold start: from the start of a process to its first redshifts, and how much must be installed for it.

Both predict a partition of a few samples, so that what is measured is the start and not the arithmetic.
"""

import dataclasses
import re
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from benchmarks.parts import baseline
from benchmarks.parts.full_size import galaxies, model, staged
from benchmarks.parts.rank import old_rank, worker
from benchmarks.ratio import Target, quartiles
from tasks.aws.function_package import inference_files, is_wanted

SAMPLES, TURNS = 16, 7
REQUIREMENTS = Path(__file__).parents[2] / "deployments" / "aws" / "requirements.txt"


def measure() -> dict[str, Any]:
    """Seconds and bytes of both, and their ratios."""
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as name:
        folder = Path(name)
        event = staged(folder, SAMPLES)
        files = baseline.write(folder, model(), *galaxies(SAMPLES))
        loading: list[float] = []

        def cold() -> float:
            start = time.perf_counter()
            with worker(event) as new:
                loading.append(new.rank()["wall_load_s"])
                return time.perf_counter() - start

        ours, old = [], []
        for turn in range(TURNS + 1):
            pair = cold(), old_rank(files)
            if turn:  # the first has the files' pages to read
                ours.append(pair[0])
                old.append(pair[1])
    return {
        "what": f"a new process from its start to the redshifts of {SAMPLES} samples by the full-size model, all cores,"
        f" files in the page cache; medians of {TURNS} interleaved turns",
        "targets": [dataclasses.asdict(target) for target in (_time(ours, old, loading), _size())],
        "rows": [{"turn": turn, "ours_s": ours[turn], "old_s": old[turn]} for turn in range(TURNS)],
    }


def _time(ours: list[float], old: list[float], loading: list[float]) -> Target:
    return Target(
        what="cold start, over the old function",
        **quartiles([mine / its for mine, its in zip(ours, old, strict=True)]),
        to_reach=0.25,
        higher_is_better=False,
        ours=f"{statistics.median(ours):.2f} s",
        other=f"{statistics.median(old):.2f} s",
        floor=f"the engine's loading, with the import of onnxruntime, {statistics.median(loading):.2f} s",
    )


def _size() -> Target:
    """Installed bytes, as the files of the distributions say; byte code and tests left out on both sides."""
    ours = sum(path.stat().st_size for _, path in inference_files()) + installed(REQUIREMENTS.read_text().split())
    old = installed(["torch", "numpy"])
    return Target(
        what="installed worker files, over the old function's",
        ratio=ours / old,
        low=ours / old,
        high=ours / old,
        to_reach=0.25,
        higher_is_better=False,
        ours=f"{ours / 1e6:.0f} MB",
        other=f"{old / 1e6:.0f} MB",
        note="both with all that they require, as installed here; torch is the build for CPUs",
    )


def installed(names: list[str]) -> int:
    """Bytes of distributions and of all that they require, without byte code and tests."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
    paths = [path for name in found for path in metadata.files(name) or [] if is_wanted(path)]
    return sum(path.locate().stat().st_size for path in paths if path.locate().is_file())  # type: ignore[union-attr]

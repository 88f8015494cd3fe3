"""One warm rank over a 25 MB partition: a worker that has served before, and the old function's new interpreter."""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.parts import baseline
from benchmarks.parts.full_size import galaxies, model, seconds, staged
from benchmarks.ratio import Target, quartiles
from inference.contract.sample import samples_of_size

TURNS = 5


class Worker:
    """A local worker process; each rank gets a result path of its own."""

    def __init__(self, process: "subprocess.Popen[str]", event: dict[str, Any]) -> None:
        self._process, self._event, self._ranks = process, event, 0

    def rank(self) -> dict[str, Any]:
        """Run one, and return its result."""
        self._ranks += 1
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(self._event | {"RESULT_PATH": f"results/{self._ranks}"}) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        if "result" not in reply:
            raise RuntimeError(f"the rank failed: {reply}")
        result: dict[str, Any] = reply["result"]
        return result


@contextmanager
def worker(event: dict[str, Any]) -> Iterator[Worker]:
    """A new worker process that is ready to be sent events."""
    command = [sys.executable, "-m", "inference.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Worker(process, event)


def old_rank(files: tuple[Path, Path]) -> float:
    """The old function: a new interpreter, and all that follows; seconds until its first redshifts."""
    command, start = [sys.executable, "-m", "benchmarks.parts.baseline", *map(str, files)], time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        raise RuntimeError("the old function failed")
    return first


def measure() -> dict[str, Any]:
    """Wall seconds of both, interleaved, and their ratio."""
    samples = samples_of_size("25MB")
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as name:
        folder = Path(name)
        event = staged(folder, samples)
        files = baseline.write(folder, model(), *galaxies(samples))
        ours, old, computing = [], [], []
        with worker(event) as warm:
            warm.rank()
            for _ in range(TURNS):
                old.append(seconds(lambda: old_rank(files)))
                results: list[dict[str, Any]] = []
                ours.append(seconds(lambda results=results: results.append(warm.rank())))  # type: ignore[misc]
                computing.append(results[0]["wall_compute_s"])
    target = Target(
        what="warm rank, 25 MB partition, over the old function",
        **quartiles([mine / its for mine, its in zip(ours, old, strict=True)]),
        to_reach=1 / 3,
        higher_is_better=False,
        ours=f"{statistics.median(ours):.2f} s",
        other=f"{statistics.median(old):.2f} s",
        floor=f"computing alone {statistics.median(computing):.2f} s",
    )
    return {
        "what": f"a rank of {samples:,} samples, the full-size model, in batches of 512, all cores, partition in a"
        " local folder; from the event to the reply of a worker that has served before, and from start to end of a"
        f" new interpreter; medians of {TURNS} interleaved turns",
        "targets": [dataclasses.asdict(target)],
        "rows": [{"turn": number, "ours_s": ours[number], "old_s": old[number]} for number in range(TURNS)],
    }

"""Tiny local runs from the command to the prompt, with a Prefect server running and without; `cosmic --help`.

Ranks of 64 galaxies with the demo's model. Ranks start and end by their worker's clock. The floor is what importing
Prefect, or its server, takes: no run can do without.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.ratio import Target, quartiles
from benchmarks.support.prefect_server import running
from inference.partitions.partition import write_partition

REPEATS, HELPS = 3, 5
FEW, MANY = 8, 1_000  # ranks
MANY_REPEATS = 2
BIN = Path(sys.executable).parent
BUCKET = "bench-bucket"


class _Run(NamedTuple):
    """Seconds of one run: command to first rank's start, last rank's end to prompt, and command to prompt."""

    to_first_rank: float
    after_last_rank: float
    whole: float


def _prepare(root: Path, ranks: int) -> Path:
    """Partitions of that many ranks, and the request."""
    rng = np.random.default_rng(0)
    folder = root / BUCKET / f"tiny-{ranks}"
    folder.mkdir(parents=True)
    for number in range(1, ranks + 1):
        images = rng.normal(size=(64, 5, 32, 32)).astype(np.float32)
        write_partition(folder / f"{number}.pt", images, rng.uniform(15, 22, (64, 5)), rng.uniform(0, 0.5, 64))
    request = {
        "bucket": BUCKET,
        "file_limit": ranks,
        "batch_size": 64,
        "result_path": f"results/{ranks}",
        "data_bucket": BUCKET,
        "data_prefix": folder.name,
    }
    path = root / f"request-{ranks}.json"
    path.write_text(json.dumps(request))
    return path


def _timed(*command: str) -> float:
    start = time.time()
    subprocess.run(command, check=True, capture_output=True)
    return time.time() - start


def _run(root: Path, ranks: int, url: str | None) -> _Run:
    command = ["run", str(root / f"request-{ranks}.json"), "--store", str(root), "--fresh", "--json"]
    about = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    about |= {"PREFECT_HOME": str(root / "home")} | ({"PREFECT_API_URL": url} if url else {})
    start = time.time()
    subprocess.run([str(BIN / "cosmic"), *command], check=True, capture_output=True, env=about)
    end = time.time()
    records = json.loads((root / BUCKET / f"results/{ranks}" / "combined_data.json").read_text())
    first, last = (min(each["started_at"] for each in records), max(each["ended_at"] for each in records))
    return _Run(first - start, end - last, end - start)


def _turns(root: Path) -> tuple[dict[str, list[float]], float]:
    """Seconds of everything that is measured, in turns; and to the first rank of the first run on a fresh home."""
    taken: dict[str, list[float]] = {
        name: []
        for name in (
            *("none", "running", "to prompt, none", "to prompt, running", "after the last of 8"),
            *("after the last of 1,000", "import prefect", "floor", "help", "bare"),
        )
    }
    (root / "lasting").mkdir()
    for ranks in (FEW, MANY):
        _prepare(root, ranks)
    first = _run(root, FEW, None).to_first_rank  # makes the home's database
    with running(root / "lasting") as server:
        _run(root, FEW, server.url)
        for _ in range(REPEATS):
            alone, joined = _run(root, FEW, None), _run(root, FEW, server.url)
            taken["none"].append(alone.to_first_rank)
            taken["to prompt, none"].append(alone.whole)
            taken["running"].append(joined.to_first_rank)
            taken["to prompt, running"].append(joined.whole)
            taken["after the last of 8"].append(joined.after_last_rank)
            taken["import prefect"].append(_timed(sys.executable, "-c", "import prefect"))
            taken["floor"].append(_timed(sys.executable, "-c", "import prefect.server.api.server"))
        taken["after the last of 1,000"] += [_run(root, MANY, server.url).after_last_rank for _ in range(MANY_REPEATS)]
    for _ in range(HELPS):
        taken["help"].append(_timed(str(BIN / "cosmic"), "--help"))
        taken["bare"].append(_timed(sys.executable, "-c", "pass"))
    return taken, first


def targets_of(taken: dict[str, list[float]], first: float) -> list[Target]:
    """The rows that have a goal.

    Args:
        taken: seconds of each turn, by what was measured.
        first: seconds to the first rank on a fresh home.
    """
    middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
    server = f"{middle['floor']:.1f} s: importing Prefect's server"
    prefect = f"{middle['import prefect']:.2f} s: import prefect"

    def target(what: str, name: str, goal: float, other: str = "", floor: str = "", **of: list[float]) -> Target:
        return Target(
            what=what,
            **quartiles(of.get("ratios", taken[name])),
            to_reach=goal,
            higher_is_better=False,
            ours=f"{middle[name]:.2f} s",
            other=other,
            floor=floor,
        )

    over = [ours / its for ours, its in zip(taken["to prompt, running"], taken["import prefect"], strict=True)]
    more = [ours - its for ours, its in zip(taken["to prompt, none"], taken["floor"], strict=True)]
    running_s, none_s = "to prompt, running", "to prompt, none"
    fresh, bare = f"the first on a fresh home {first:.1f} s", f"{middle['bare']:.2f} s: python -c pass"
    return [
        target("tiny run, no Prefect server: seconds to the first rank", "none", 5.0, fresh, server),
        target("tiny run, Prefect server running: seconds to the first rank", "running", 3.0),
        target("8 tiny ranks, server running: to the prompt, over import prefect", running_s, 2, prefect, ratios=over),
        target("8 tiny ranks, no server: seconds more than its import", none_s, 2.5, server, ratios=more),
        target("8 tiny ranks: seconds from the last one to the prompt", "after the last of 8", 1.0),
        target("1,000 tiny ranks: seconds from the last one to the prompt", "after the last of 1,000", 2.0),
        target("cosmic --help: seconds", "help", 0.4, "an interpreter that does nothing", bare),
    ]


def measure() -> dict[str, Any]:
    """Seconds, each a median over turns in which all take part."""
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        taken, first = _turns(Path(folder))
    return {
        "what": f"ranks of 64 galaxies, {FEW} or {MANY:,}, from the command to the first rank's start, from the last"
        f" rank's end to the prompt, and all of it; medians of {REPEATS} turns, {MANY_REPEATS} of {MANY:,} ranks,"
        f" {HELPS} of --help; seconds, but for the one over `import prefect`",
        "rows": [{"what": name, "s": statistics.median(seconds), "turns": seconds} for name, seconds in taken.items()],
        "first_on_a_fresh_home_s": first,
        "targets": [dataclasses.asdict(target) for target in targets_of(taken, first)],
    }

"""A tiny local run from the command to its first rank, with a Prefect server running and without; `cosmic --help`.

Two ranks of 64 galaxies with the demo's model. The seconds are from the start of the process to the first rank's start
by its worker's clock. The floor is what importing Prefect's server takes, which a temporary one cannot do without.
"""

import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ratio import Target, quartiles
from inference.partitions.partition import write_partition

REPEATS, HELPS = 3, 5
BIN = Path(sys.executable).parent
REQUEST = {
    "bucket": "bench-bucket",
    "file_limit": 2,
    "batch_size": 64,
    "result_path": "results/startup",
    "data_bucket": "bench-bucket",
    "data_prefix": "tiny",
}


def _prepare(root: Path) -> None:
    rng = np.random.default_rng(0)
    (root / "bench-bucket" / "tiny").mkdir(parents=True)
    for number in (1, 2):
        images = rng.normal(size=(64, 5, 32, 32)).astype(np.float32)
        path = root / "bench-bucket" / "tiny" / f"{number}.pt"
        write_partition(path, images, rng.uniform(15, 22, (64, 5)), rng.uniform(0, 0.5, 64))
    (root / "request.json").write_text(json.dumps(REQUEST))


def _timed(*command: str) -> float:
    start = time.time()
    subprocess.run(command, check=True, capture_output=True)
    return time.time() - start


def _to_first_rank(root: Path, url: str | None) -> float:
    words = ["run", str(root / "request.json"), "--store", str(root), "--fresh", "--json"]
    about = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    start = time.time()
    subprocess.run(
        [str(BIN / "cosmic"), *words],
        check=True,
        capture_output=True,
        env=about | {"PREFECT_HOME": str(root / "home")} | ({"PREFECT_API_URL": url} if url else {}),
    )
    records = json.loads((root / "bench-bucket" / REQUEST["result_path"] / "combined_data.json").read_text())  # type: ignore[operator]
    return float(min(record["started_at"] for record in records)) - start


@contextmanager
def _server(home: Path) -> Iterator[str]:
    """A lasting server on a home of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    about = os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with subprocess.Popen(
        [str(BIN / "prefect"), "server", "start", "--port", str(port)],
        env=about,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310 - ours
                    break
                except OSError:
                    time.sleep(0.2)
            yield url
        finally:
            server.terminate()


def measure() -> dict[str, Any]:
    """Seconds, each a median over turns in which all take part."""
    taken: dict[str, list[float]] = {name: [] for name in ("none", "running", "floor", "help", "bare")}
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        root = Path(folder)
        _prepare(root)
        first = _to_first_rank(root, None)  # makes the home's database
        with _server(root / "lasting") as url:
            _to_first_rank(root, url)
            for _ in range(REPEATS):
                taken["none"].append(_to_first_rank(root, None))
                taken["running"].append(_to_first_rank(root, url))
                taken["floor"].append(_timed(sys.executable, "-c", "import prefect.server.api.server"))
        for _ in range(HELPS):
            taken["help"].append(_timed(str(BIN / "cosmic"), "--help"))
            taken["bare"].append(_timed(sys.executable, "-c", "pass"))
    middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
    rows = [
        (
            "tiny run, no Prefect server: seconds to the first rank",
            "none",
            5.0,
            f"the first on a fresh home {first:.1f} s",
        ),
        ("tiny run, Prefect server running: seconds to the first rank", "running", 3.0, ""),
        ("cosmic --help: seconds", "help", 0.4, f"{middle['bare']:.2f} s, an interpreter that does nothing"),
    ]
    floors = {
        "none": f"{middle['floor']:.1f} s: importing Prefect's server",
        "running": "",
        "help": f"{middle['bare']:.2f} s: python -c pass",
    }
    targets = [
        Target(
            what=what,
            **quartiles(taken[name]),
            to_reach=goal,
            higher_is_better=False,
            ours=f"{middle[name]:.2f} s",
            other=other,
            floor=floors[name],
        )
        for what, name, goal, other in rows
    ]
    return {
        "what": f"two ranks of 64 galaxies, from the command to the first rank's start; medians of {REPEATS} turns,"
        f" {HELPS} of --help; these are seconds, not ratios",
        "rows": [{"what": name, "s": middle[name], "turns": seconds} for name, seconds in taken.items()],
        "first_on_a_fresh_home_s": first,
        "targets": [dataclasses.asdict(target) for target in targets],
    }

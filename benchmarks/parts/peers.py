"""A run against the engines that a user would pick instead: a pool of processes, Dask, Ray and Lithops.

The same handler, model and partitions, two single-thread workers; seconds from the command's start to its end. The
peers bring results and nothing else; `cosmic run` also writes the plan, the summary, the bill and the report.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.full_size import model
from benchmarks.ratio import NotHere, Target, quartiles
from benchmarks.support.peer_environment import REPOSITORY, python_with_peers
from benchmarks.support.prefect_server import running
from inference.contract.run_request import RunRequest
from inference.model.checkpoint import content_hash, export_onnx, save
from inference.partitions.partition import write_partition
from inference.runs.plan import Model, make_plan
from inference.storage.store import Store

TURNS, WORKERS, BUCKET = 2, 2, "bench-bucket"
PATIENCE_S = 240.0  # an engine that takes longer is said to, and not tried again
GOALS = {"pool", "dask"}  # whose times runs are compared with; of others they are shown
OURS, ALONE = "cosmic run", "cosmic run, no server"


@dataclass(frozen=True)
class Load:
    """So many ranks of so many galaxies; what a run may take of Dask's time, and of the pool's if that is a goal."""

    ranks: int
    galaxies: int
    over_dask: float
    over_pool: float | None

    def __str__(self) -> str:
        return f"{self.ranks:,} ranks of {self.galaxies} galaxies"


LOADS = (Load(64, 256, 1.05, 1.15), Load(1_000, 8, 1.1, None))


class _Bench:
    """One load in one store: partitions, request, and a way to time each engine."""

    def __init__(self, load: Load, root: Path, python: Path, staged: Model) -> None:
        self._load, self._root, self._python, self._model = load, root, python, staged
        self._turn = 0
        rng = np.random.default_rng(0)
        folder = root / BUCKET / self._path("data")
        folder.mkdir(parents=True)
        for number in range(1, load.ranks + 1):
            images = rng.normal(size=(load.galaxies, 5, 32, 32)).astype(np.float32)
            magnitudes, redshifts = rng.uniform(15, 22, (load.galaxies, 5)), rng.uniform(0, 0.5, load.galaxies)
            write_partition(folder / f"{number}.pt", images, magnitudes, redshifts)

    def _path(self, kind: str) -> str:
        return f"{kind}/{self._load.ranks}-{self._load.galaxies}"

    def _request(self) -> dict[str, Any]:
        return {
            "bucket": BUCKET,
            "file_limit": self._load.ranks,
            "batch_size": min(self._load.galaxies, 128),
            "result_path": self._path("results"),
            "data_bucket": BUCKET,
            "data_prefix": self._path("data"),
            "model": "models/full.safetensors",
        }

    def ours(self, url: str | None) -> float:
        """Seconds that `cosmic run` takes, with a server or without."""
        path = self._root / "request.json"
        path.write_text(json.dumps(self._request()))
        cosmic = str(Path(sys.executable).with_name("cosmic"))
        command = [cosmic, "run", str(path), "--store", str(self._root), "--fresh", "--json", "--workers", str(WORKERS)]
        about = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        home = {"PREFECT_HOME": str(self._root / "home")} | ({"PREFECT_API_URL": url} if url else {})
        return _timed(command, about | home)

    def peer(self, engine: str) -> float:
        """Seconds that a peer takes over the same ranks, results where no others are; infinite where it cannot.

        Raises:
            RuntimeError: it failed, and its time is part of a goal.
        """
        self._turn += 1
        request = RunRequest.read(self._request())
        listing = Store(self._root).list(BUCKET, request.data_prefix)
        planned = make_plan(request, listing, self._model, str(self._root)).events
        place = f"{self._path('peers')}/{engine}-{self._turn}"
        events = [dataclasses.replace(event, result_path=place).to_wire() for event in planned]
        path = self._root / "events.json"
        path.write_text(json.dumps(events))
        command = [str(self._python), "-m", "benchmarks.support.peer_engines", engine, str(path), str(WORKERS)]
        single = dict.fromkeys(("COSMIC_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        try:
            return _timed(command, os.environ | single | {"PYTHONPATH": str(REPOSITORY)})
        except RuntimeError as error:
            if engine in GOALS:
                raise
            print(f"{engine} does not run here: {error}", file=sys.stderr)
            return float("inf")


def _staged(root: Path) -> Model:
    """The model and its graph in the store, as a run stages them."""
    weights = root / BUCKET / "models" / "full.safetensors"
    weights.parent.mkdir(parents=True)
    save(weights, model())
    graph = export_onnx(weights)
    return Model(f"models/{weights.name}", content_hash(weights), f"models/{graph.name}", content_hash(graph))


def _timed(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return float("inf")
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{' '.join(command[:5])}: {error.stderr.strip()[-300:]}") from None
    return time.perf_counter() - began


def _measure_load(bench: _Bench, peers: list[str], url: str) -> dict[str, list[float]]:
    bench.ours(url)  # the first run of a model measures it, and that of a home makes its entries
    bench.ours(None)  # makes the home's database
    taken: dict[str, list[float]] = {name: [] for name in (*peers, OURS, ALONE)}
    for _ in range(TURNS):
        for name in peers:
            if all(map(np.isfinite, taken[name])):
                taken[name].append(bench.peer(name))
        taken[OURS].append(bench.ours(url))
        taken[ALONE].append(bench.ours(None))
    return taken


def _targets(load: Load, taken: dict[str, list[float]]) -> list[Target]:
    middle = {name: statistics.median(seconds) for name, seconds in taken.items()}

    def target(what: str, ratios: list[float], goal: float, mine: str, other: str) -> Target:
        return Target(
            what=f"{load}: {what}",
            **quartiles(ratios),
            to_reach=goal,
            higher_is_better=False,
            ours=f"{middle[mine]:.1f} s",
            other=f"{other} {middle[other]:.1f} s",
            floor=f"{middle['pool']:.1f} s, a pool of processes",
        )

    def over(other: str) -> list[float]:
        return [mine / theirs for mine, theirs in zip(taken[OURS], taken[other], strict=True)]

    more = [alone - mine for alone, mine in zip(taken[ALONE], taken[OURS], strict=True)]
    found = [target("cosmic run over Dask", over("dask"), load.over_dask, OURS, "dask")]
    if load.over_pool is not None:
        found.append(target("cosmic run over the pool", over("pool"), load.over_pool, OURS, "pool"))
    return [*found, target("seconds more without a server", more, 3.0, ALONE, OURS)]


def measure() -> dict[str, Any]:
    """The rows of the table, and the ratios that have a goal.

    Raises:
        NotHere: Dask cannot be installed.
    """
    python, there = python_with_peers()
    if "dask" not in there:
        raise NotHere("Dask, with which runs are compared, cannot be installed")
    peers = [name for name in ("pool", "dask", "ray", "lithops") if name in there]
    rows, targets = [], []
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        root = Path(folder)
        staged = _staged(root)
        (root / "lasting").mkdir()
        with running(root / "lasting") as server:
            for load in LOADS:
                taken = _measure_load(_Bench(load, root, python, staged), peers, server.url)
                rows += [
                    {"load": str(load), "engine": name, "seconds": [s if np.isfinite(s) else None for s in seconds]}
                    for name, seconds in taken.items()
                ]
                targets += [dataclasses.asdict(target) for target in _targets(load, taken)]
    return {
        "what": f"{WORKERS} single-thread workers, the full-size model with random weights; seconds from the command's"
        f" start to its end, {TURNS} turns in which all take part; null where it failed or took over {PATIENCE_S:g} s",
        "rows": rows,
        "targets": targets,
    }

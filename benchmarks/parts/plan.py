"""How good predictions are: real runs against what was expected of each before it, and the best of 24 ways to run.

Runs of six configurations take turns, each a process of its own (`cosmic run`) that predicts itself from the runs of
its configuration before it. The first two of a configuration have too little to go by and are not counted.
Then each of 24 ways to run one data set locally is run, and the way that `cosmic plan` would have chosen is held
against the best of them.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ratio import Target
from benchmarks.support import prefect_server
from benchmarks.support.scripted_function import MEMORY_MB, Script, scripted
from inference.contract.run_request import RunRequest
from inference.contract.sample import samples_of_size
from inference.partitions.partition import write_partition
from inference.storage.store import Store
from tasks.aws.buckets import make_bucket
from tasks.aws.emulator import emulated_here
from tasks.aws.stack import install
from tasks.executors.base import cores
from tasks.planning.best import Choice, best_of, configurations, try_all
from tasks.planning.history import PastRun, past_runs
from tasks.planning.planned_run import kind_of, model_of, parameters_of_model, place_of
from tasks.planning.scoring import Outcome, outcomes
from tasks.run_results.expected import actual_of

BUCKET = "plan-bench"
RUNS = int(os.environ.get("COSMIC_RUNS", "12"))  # of each configuration
LEARNED = 2  # runs of a configuration that are not counted
SMALL, LARGE, ENVIRONMENTS = 24, 6, 4  # ranks of 400 and of 2,500 galaxies; of the scripted function
WHOLE = int(os.environ.get("COSMIC_GALAXIES", str(samples_of_size("250MB"))))
SIZES = ("10MB", "25MB", "50MB", "75MB", "100MB", "200MB")
PRECISIONS = ("float32", "int8")


@dataclass(frozen=True)
class Configuration:
    """Runs that are alike: where they run, on which partitions, with which changes of the request."""

    name: str
    executor: str
    folder: str
    ranks: int
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def under(self) -> str:
        """The folder of its results, in which each run finds those before it."""
        return f"runs/{re.sub('[^a-z]+', '-', self.name)}".rstrip("-")

    @property
    def on_aws(self) -> bool:
        """Whether its store is the emulator's."""
        return self.executor in {"lambda", "step-functions"}


SCRIPTED = Configuration(
    "lambda (scripted endpoint)",
    "lambda",
    "small",
    4 * ENVIRONMENTS,
    {"max_concurrency": ENVIRONMENTS, "function_name": "scripted", "memory_mb": MEMORY_MB},
)
CONFIGURATIONS = (
    Configuration("local, small ranks", "local", "small", SMALL),
    Configuration("local, large ranks", "local", "large", LARGE),
    Configuration("dask", "dask", "small", SMALL),
    Configuration("lambda (emulator)", "lambda", "small", SMALL // 2, {"max_concurrency": 2}),
    Configuration("step-functions (emulator)", "step-functions", "small", SMALL // 2, {"max_concurrency": 2}),
    SCRIPTED,
)


def _request(folder: str, ranks: int, result_path: str, **changes: Any) -> dict[str, Any]:
    fixed = {"bucket": BUCKET, "data_bucket": BUCKET, "batch_size": 512}
    return fixed | {"file_limit": ranks, "data_prefix": folder, "result_path": result_path} | changes


def _write(folder: Path, samples: int, partitions: int) -> None:
    folder.mkdir(parents=True)
    for number in range(1, partitions + 1):
        rng = np.random.default_rng(number)
        images = rng.normal(size=(samples, 5, 32, 32)).astype(np.float32)
        write_partition(
            folder / f"{number}.pt", images, rng.uniform(15, 22, (samples, 5)), rng.uniform(0, 0.5, samples)
        )


def _run(request: dict[str, Any], store: str, executor: str, workers: int | None, home: Path) -> dict[str, Any]:
    path = home / "request.json"
    path.write_text(json.dumps(request))
    words = [] if workers is None else ["--workers", str(workers)]
    cosmic = Path(sys.executable).with_name("cosmic")
    command = [str(cosmic), "run", str(path), "--store", store, "--executor", executor, "--fresh", "--json", *words]
    document: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return document


@contextmanager
def _emulator(root: Path) -> Iterator[Script]:
    with emulated_here():
        make_bucket(BUCKET)
        for path in sorted((root / BUCKET / "small").iterdir()):
            Store("s3://").write(BUCKET, f"small/{path.name}", path)
        install("cosmic-flows", BUCKET, {})
        with scripted(ENVIRONMENTS) as script:
            yield script


def _accuracy(root: Path, home: Path) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """Every counted figure with its prediction; a row a configuration, and one a run."""
    found: list[Outcome] = []
    scores: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for on_aws in (False, True):
        mine, store = [each for each in CONFIGURATIONS if each.on_aws == on_aws], "s3://" if on_aws else str(root)
        with _emulator(root) if on_aws else nullcontext() as script:
            for number in range(RUNS):
                for each in mine:
                    request = _request(each.folder, each.ranks, f"{each.under}/{number}", **each.changes)
                    with script.a_run() if script and each is SCRIPTED else nullcontext():
                        _run(request, store, each.executor, None if on_aws else cores(), home)
            for each in mine:
                runs, _ = past_runs(Store(store), BUCKET, under=each.under)
                some = outcomes(runs[LEARNED:], replay=False)
                found += some
                scores.append({"configuration": each.name} | _score(some))
                rows += [{"run of": each.name} | _figures(run) for run in runs]
    return found, [*scores, *rows]


def _figures(run: PastRun) -> dict[str, Any]:
    """What a run came to and what was expected of it, by line, with which a prediction can be replayed."""
    ranks, kept = run.ranks, run.document.get("prediction") or {}
    sums = {name: sum(getattr(rank, name) for rank in ranks) for name in ("load", "read", "compute", "write", "total")}
    figures = {name: {"actual": actual, "expected": kept.get(name)} for name, actual in actual_of(run.document).items()}
    return figures | {"sums_s": sums | {"call": sum(rank.call_s for rank in ranks)}, "cold": sum(r.cold for r in ranks)}


def _score(some: list[Outcome]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for figure in ("makespan_s", "end_to_end_s", "usd"):
        mine = [each for each in some if each.figure == figure]
        if mine:
            row["runs"] = len(mine)
            row[f"{figure}: median error"] = statistics.median(abs(each.error) for each in mine)
            row[f"{figure}: in the 90 % interval"] = statistics.fmean(each.inside for each in mine)
    return row


def _way(choice: Choice) -> str:
    return f"{choice.partition}, {choice.at_once} at once, {choice.precision}"


def _best(root: Path, home: Path) -> tuple[list[dict[str, Any]], str]:
    """Every way to run one data set locally, as expected and as run; and the way that is expected to be the fastest."""
    store, paths = str(root), {size: f"by-{size}" for size in SIZES}
    for size, folder in paths.items():
        each = samples_of_size(size)
        _write(root / BUCKET / folder, min(each, WHOLE), -(-WHOLE // each))
    for precision in PRECISIONS:
        for turn in range(2):
            ranks = -(-WHOLE // samples_of_size("25MB"))
            request = _request(paths["25MB"], ranks, f"probe/{precision}/{turn}", precision=precision)
            _run(request, store, "local", cores(), home)
    request = RunRequest.read(_request("none", 10_000, "best") | {"partition": {"source": "none.pt", "size": "25MB"}})
    runs, _ = past_runs(Store(store), BUCKET, under="probe")
    models = {}
    for precision in PRECISIONS:
        changed = request.model_copy(update={"precision": precision})
        place = place_of(changed, "local", None)
        kind = kind_of(changed, Store(store), "local", place)
        models["local", precision], _ = model_of(runs, kind, place, parameters=parameters_of_model(request))
    tried = [each for each in configurations(request, "local", WHOLE, (), PRECISIONS) if each[0] in SIZES]
    choices = try_all(tried, models)
    rows = []
    for choice in choices:
        path = f"ways/{choice.partition}-{choice.at_once}-{choice.precision}"
        request_of_way = _request(paths[str(choice.partition)], choice.ranks, path, precision=choice.precision)
        took = _run(request_of_way, store, "local", choice.at_once, home)["end_to_end_s"]
        rows.append({"way": _way(choice), "expected_s": choice.s, "s": took})
    return rows, _way(best_of(choices, None, None))


def measure() -> dict[str, Any]:
    """Errors and coverage of predictions, and the chosen way's time over the best way's."""
    with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as folder:
        root, home = Path(folder) / "store", Path(folder)
        _write(root / BUCKET / "small", 400, SMALL)
        _write(root / BUCKET / "large", 2_500, LARGE)
        with tempfile.TemporaryDirectory(prefix="cosmic-bench-") as prefect, prefect_server.running(Path(prefect)):
            found, rows = _accuracy(root, home)
            ways, chosen = _best(root, home)
    targets = []
    for figure, goal in (("makespan_s", 0.10), ("usd", 0.05)):
        errors = [abs(each.error) for each in found if each.figure == figure]
        low, middle, high = statistics.quantiles(errors, n=4, method="inclusive")
        targets.append(
            Target(
                what=f"plan: error of {figure} without its sign, median of runs",
                ratio=middle,
                low=low,
                high=high,
                to_reach=goal,
                higher_is_better=False,
                ours=f"{len(errors)} runs of {len(CONFIGURATIONS)} configurations",
                other="what each was expected to take before it began",
            )
        )
    inside = [each.inside for each in found if each.figure == "makespan_s"]
    share = statistics.fmean(inside)
    targets.append(
        Target(
            what="plan: makespans in their 90 % interval",
            ratio=share,
            low=share,
            high=share,
            to_reach=0.85,
            higher_is_better=True,
            ours=f"{sum(inside)} of {len(inside)} runs",
            other="85 to 95 % are wanted",
        )
    )
    mine = next(way["s"] for way in ways if way["way"] == chosen)
    best = min(ways, key=lambda way: way["s"])
    ratio = mine / best["s"]
    targets.append(
        Target(
            what=f"plan: the chosen way over the best of {len(ways)}",
            ratio=ratio,
            low=ratio,
            high=ratio,
            to_reach=1.10,
            higher_is_better=False,
            ours=f"{mine:.2f} s ({chosen})",
            other=f"{best['s']:.2f} s ({best['way']})",
            note="one run a way",
        )
    )
    return {
        "what": f"demo model; {RUNS} runs of each of {len(CONFIGURATIONS)} configurations in turn, {LEARNED} of each"
        f" not counted; {len(ways)} ways to run {WHOLE:,} galaxies locally, one run each",
        "rows": [*rows, *ways],
        "targets": [asdict(target) for target in targets],
    }

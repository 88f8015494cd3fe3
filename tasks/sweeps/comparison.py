"""The comparison of two runs or sweeps: every metric side by side, and whether the difference exceeds the noise."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.contract.counted import counted
from inference.contract.documents import read_document
from inference.contract.json_text import parse_json
from inference.contract.object_keys import checked_bucket, checked_key
from inference.contract.run_request import MEMORY_MB
from inference.errors import BadInput
from inference.rank_results.publish_summary import summary_key
from inference.storage.store import Store
from tasks.reporting.formatting import number
from tasks.sweeps.cells import AXES, Cell, Measurement, cells_of
from tasks.sweeps.run_metrics import METRICS, checked_document, ranks_of_run
from tasks.sweeps.statistics import mean_interval, ratio_interval, without_outliers

GATES = ("makespan_s", "usd")
DOCUMENTS = ("sweep.json", "summary.json")
_OF_RANKS = {"warm_rank_s": False, "cold_rank_s": True}  # metrics whose noise one run's ranks tell; whether cold
_SAME = (
    ("data", lambda document: _data(document)),
    ("model", lambda document: _model(document)),
    ("world size", lambda document: document.get("world_size")),
    ("engine", lambda document: document.get("engine")),
    ("precision", lambda document: document.get("precision")),
    ("batch size", lambda document: document["request"].get("batch_size")),
    ("executor", lambda document: document.get("executor")),
    ("memory of the function", lambda document: document["request"].get("memory_mb", MEMORY_MB)),
)


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: its name, and its cells; a run is a sweep of one cell."""

    name: str
    cells: Sequence[Cell]


def load_side(place: str, store_root: str) -> Side:
    """Read a run or a sweep.

    Args:
        place: a sweep's or a run's JSON file, a folder that holds one, or `bucket/result_path` in the store, where
            a run lies, or runs in folders 1, 2, ... below it.
        store_root: root of the store.

    Raises:
        BadInput: there is nothing, or it is no whole run and no sweep.
    """
    path = Path(place).expanduser()
    files = [path] if path.is_file() else [path / name for name in DOCUMENTS if (path / name).is_file()]
    if files:
        return side_of(place, _parsed(read_document(files[0], "the summary"), str(files[0])))
    bucket, _, folder = place.partition("/")
    if not folder:
        raise BadInput(f"{place!r:.120} is no file, no folder with a sweep.json, and not written bucket/result_path")
    store, key = Store(store_root), checked_key(folder, "RESULT_PATH")
    checked_bucket(bucket, "RESULT_PATH")
    if store.head(bucket, f"{key}/sweep.json") is not None:
        return side_of(place, _parsed(store.read(bucket, f"{key}/sweep.json"), f"{place}/sweep.json"))
    if store.head(bucket, f"{key}/summary.json") is not None:
        return side_of(place, _summary(store, bucket, key))
    runs = [each.key for each in store.list(bucket, key) if _is_repeat(each.key.removeprefix(f"{key}/"))]
    if not runs:
        raise BadInput(f"no run ended at {place} in {store.root}: there is no summary.json, and no sweep.json")
    documents = [_summary(store, bucket, run.removesuffix("/summary.json")) for run in runs]
    return side_of_runs(place, [checked_document(each, f"{place}, run {n}") for n, each in enumerate(documents, 1)])


def _is_repeat(key: str) -> bool:
    run, _, name = key.partition("/")
    return run.isdigit() and name == "summary.json"


def _summary(store: Store, bucket: str, result_path: str) -> object:
    key = summary_key(store, bucket, result_path)
    return _parsed(store.read(bucket, key), f"{bucket}/{key}")


def _parsed(content: bytes, where: str) -> object:
    document: object = parse_json(content, where)
    return document


def side_of(name: str, document: object) -> Side:
    """A run's document or a sweep's as one side.

    Raises:
        BadInput: it is neither, or holds no whole run.
    """
    measurements = document.get("measurements") if isinstance(document, Mapping) else None
    if measurements is None:
        return side_of_runs(name, [checked_document(document, name)])
    if not isinstance(measurements, list):
        raise BadInput(f"{name}: measurements must be a list")
    measured = [Measurement.read(wire, f"{name}, measurement {n}") for n, wire in enumerate(measurements, 1)]
    cells = [cell for cell in cells_of(measured) if cell.runs]
    if not cells:
        raise BadInput(f"{name} holds no whole run")
    return Side(name, cells)


def side_of_runs(name: str, documents: Sequence[Mapping[str, Any]]) -> Side:
    """Runs of one cell as a side, a run that is alone among them."""
    runs = tuple(Measurement({}, repeat, document) for repeat, document in enumerate(documents, 1))
    return Side(name, [Cell({}, runs)])


def compare(a: Side, b: Side, fail_above: float | None = None, gates: Sequence[str] = GATES) -> dict[str, Any]:
    """Set every metric of B beside that of A.

    A metric trips the gate when B is worse than A by more than `fail_above` times and the difference exceeds the
    noise; where one run each leaves the noise unknown, the ratio alone decides.

    Returns:
        The comparison as JSON: `a`, `b`, `settings` (those that differ: setting, a, b), `warnings` (a sentence for each
        of them, then what else a reader must know), `rows` (cell, metric, a and b with interval and runs, ratio B/A
        with interval, verdict), `fail_above`, `tripped` (a sentence each).

    Raises:
        BadInput: `fail_above` is below 1, a gate is no metric that has a better and a worse, or no cell is in both.
    """
    check_gate(fail_above, gates)
    pairs = _pairs(a, b)
    rows = [row for label, one, other in pairs for row in _rows(label, one, other)]
    settings = _settings(pairs)
    different = [f"different {each['setting']}: A has {each['a']}, B has {each['b']}" for each in settings]
    tripped = [] if fail_above is None else [trip for row in rows for trip in _trips(row, fail_above, gates)]
    return {
        "a": a.name,
        "b": b.name,
        "settings": settings,
        "warnings": [*different, *_warnings(a, b, pairs)],
        "rows": rows,
        "fail_above": fail_above,
        "gates": list(gates) if fail_above is not None else [],
        "tripped": tripped,
    }


def check_gate(fail_above: float | None, gates: Sequence[str]) -> None:
    """Refuse a gate that cannot be.

    Raises:
        BadInput: `fail_above` is below 1, or a gate is no metric that has a better and a worse.
    """
    if fail_above is not None and not (math.isfinite(fail_above) and fail_above >= 1):
        raise BadInput(f"--fail-above is a ratio of at least 1, such as 1.10, not {fail_above}")
    for gate in gates:
        if gate not in METRICS or METRICS[gate].better == "neither":
            known = ", ".join(name for name, metric in METRICS.items() if metric.better != "neither")
            raise BadInput(f"--metric must be one of {known}, not {gate!r:.40}")


def _pairs(a: Side, b: Side) -> list[tuple[str, Cell, Cell]]:
    """Cells of both sides that share every axis; two sides of one cell each are a pair whatever their axes.

    A whole sweep on one executor is set beside the same sweep on another.
    """
    if len(a.cells) == len(b.cells) == 1:
        return [("", a.cells[0], b.cells[0])]
    each_on_one = all(len({cell.axes.get("executor") for cell in side.cells}) == 1 for side in (a, b))
    axes = [axis for axis in AXES if not (axis == "executor" and each_on_one)]
    mine = {_point(cell, axes): cell for cell in a.cells}
    names = [axis for axis in axes if len({cell.axes.get(axis) for cell in (*a.cells, *b.cells)}) > 1]
    pairs = [(cell.label(names), mine[_point(cell, axes)], cell) for cell in b.cells if _point(cell, axes) in mine]
    if not pairs:
        raise BadInput(f"{a.name} and {b.name} share no cell: nothing can be compared")
    return pairs


def _point(cell: Cell, axes: Sequence[str]) -> tuple[Any, ...]:
    return tuple(cell.axes.get(axis) for axis in axes)


def _settings(pairs: Sequence[tuple[str, Cell, Cell]]) -> list[dict[str, str]]:
    """What differs besides the figures, each once."""
    found = [
        {"setting": what, "a": _said(values[0]), "b": _said(values[1])}
        for _, one, other in pairs
        for what, value_of in _SAME
        for values in [[value_of(side.runs[0].document) for side in (one, other)]]
        if values[0] != values[1]
    ]
    return [each for number, each in enumerate(found) if each not in found[:number]]


def _warnings(a: Side, b: Side, pairs: Sequence[tuple[str, Cell, Cell]]) -> Iterator[str]:
    for side, letter in ((a, "A"), (b, "B")):
        alone = len(side.cells) - len(pairs)
        if alone > 0:
            yield f"{alone} cell{'s' * (alone > 1)} of {letter} {'are' if alone > 1 else 'is'} not in the other"
        runs = [run for cell in side.cells for run in cell.runs]
        partial = sum(bool(run.document.get("missing_ranks")) for run in runs)
        if partial:
            are = "is" if partial == 1 else "are"
            yield f"{partial} of {counted(len(runs), 'run')} of {letter} {are} incomplete: ranks are missing"
        resumed = sum(bool(run.document.get("ranks_resumed")) for run in runs)
        if resumed:
            were = "was" if resumed == 1 else "were"
            share = f"{resumed} of {counted(len(runs), 'run')} of {letter}"
            yield f"{share} {were} resumed: times are of the ranks that ran last"
        failed = sum(len(cell.failed) for cell in side.cells)
        if failed:
            yield f"{counted(failed, 'run')} of {letter} failed and count{'s' * (failed == 1)} for nothing"


def _said(value: object) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _data(document: Mapping[str, Any]) -> str:
    request = document["request"]
    place = f"{request.get('data_bucket')}/{request.get('data_prefix')}"
    read = sum(
        len(str(rank.get("data_path")).split(", ")) for rank in document.get("ranks", ()) if rank.get("data_path")
    )
    files = read or int(request.get("file_limit") or 0)  # which is a limit: fewer may be there
    return f"{place}, {counted(files, 'file')}, {counted(document['samples'], 'sample')}"


def _model(document: Mapping[str, Any]) -> str | None:
    what = document.get("model") or document.get("script")
    return f"{what.get('key')} ({str(what.get('sha256'))[:12]})" if isinstance(what, Mapping) else None


def _rows(label: str, one: Cell, other: Cell) -> Iterator[dict[str, Any]]:
    for name, metric in METRICS.items():
        a, b = one.values(name), other.values(name)
        if not a or not b:
            continue
        row: dict[str, Any] = {"cell": label, "metric": name, "title": metric.title, "unit": metric.unit}
        row |= {"better": metric.better} | _side("a", a) | _side("b", b)
        yield row | _ratio(name, one, other, a, b)


def _side(letter: str, values: Sequence[float]) -> dict[str, Any]:
    mean = mean_interval(values)
    return {letter: mean.mean, f"{letter}_low": mean.low, f"{letter}_high": mean.high, f"{letter}_runs": len(values)}


def _ratio(name: str, one: Cell, other: Cell, a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """B over A, and whether they differ: by the repeats, else by the ranks of one run each, else unknown."""
    if len({*a, *b}) == 1:
        return _verdict(1.0 if a[0] else None, None, None, False, "equal")
    source = "runs"
    if name in _OF_RANKS and min(len(a), len(b)) == 1:
        a, b = _rank_times(name, one), _rank_times(name, other)
        source = "ranks"
    if min(*a, *b) <= 0:
        return _verdict(None, None, None, None, "no ratio: a run has 0")
    ratio = ratio_interval(a, b)
    if ratio.low is None:
        how = "one run each" if max(len(a), len(b)) == 1 else "one run on one side"
        return _verdict(ratio.ratio, None, None, None, f"{how}: no noise known")
    better = METRICS[name].better
    verdict = "within the noise"
    if ratio.exceeds_noise:
        worse = (ratio.ratio > 1) == (better == "lower")
        verdict = "differs" if better == "neither" else "B is worse" if worse else "B is better"
    if source == "ranks":
        verdict += ", by the spread of ranks within the runs"
    return _verdict(ratio.ratio, ratio.low, ratio.high, bool(ratio.exceeds_noise), verdict)


def _verdict(
    ratio: float | None, low: float | None, high: float | None, exceeds: bool | None, verdict: str
) -> dict[str, Any]:
    return {"ratio": ratio, "ratio_low": low, "ratio_high": high, "exceeds_noise": exceeds, "verdict": verdict}


def _rank_times(name: str, cell: Cell) -> list[float]:
    cold = _OF_RANKS[name]
    times = [row["wall_total_s"] for run in cell.runs for row in ranks_of_run(run.document) if row["cold"] == cold]
    return list(without_outliers(times))


def _trips(row: Mapping[str, Any], fail_above: float, gates: Sequence[str]) -> Iterator[str]:
    ratio = row["ratio"]
    if row["metric"] not in gates or ratio is None or row["exceeds_noise"] is False:
        return
    worse = ratio if row["better"] == "lower" else 1 / ratio
    if worse > fail_above:
        cell = f" ({row['cell']})" if row["cell"] else ""
        noise = "beyond the noise" if row["exceeds_noise"] else "with no noise known"
        yield (
            f"{row['title']}{cell}: B is {number(worse)} times worse than A, {number(row['b'], row['unit'])} against"
            f" {number(row['a'], row['unit'])}, more than the {fail_above:g} allowed, {noise}"
        )

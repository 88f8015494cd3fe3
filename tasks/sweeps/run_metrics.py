"""The figures of one run: everything that tables, plots and comparisons take from its document."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from inference.contract.validation import checked_int, is_number, shorten
from inference.errors import BadInput
from tasks.sweeps.statistics import without_outliers

STAGES = ("load", "read", "compute", "write")
REST = "rest"
_NUMBERS = ("makespan_s", "end_to_end_s", "samples", "samples_per_s", "throughput_bps", "throughput_bps_sum_of_ranks")
_RANK_NUMBERS = (
    *("rank", "samples", "started_at", "ended_at", "peak_rss_mb", "cpu_total_s", "wall_total_s"),
    *(f"wall_{stage}_s" for stage in STAGES),
)
Document = Mapping[str, Any]
_MOST = 1e30  # no figure of a run is larger, nor smaller than its inverse; what is would overflow in a variance


def ranks_of_run(document: Document) -> list[Mapping[str, Any]]:
    """The rows of the ranks that ran in this run, or of all where it found every one done."""
    rows = list(document.get("ranks") or ())
    return [row for row in rows if not row.get("resumed")] or rows


def rank_seconds(document: Document, *, cold: bool) -> list[float]:
    """Wall seconds of the cold ranks, or of the warm ones."""
    return [row["wall_total_s"] for row in ranks_of_run(document) if bool(row["cold"]) == cold]


def figures_of(document: Document) -> dict[str, float]:
    """Every metric (METRICS) that is known of a run."""
    found = ((name, metric.of(document)) for name, metric in METRICS.items())
    return {name: float(value) for name, value in found if value is not None and math.isfinite(value)}


def checked_document(document: object, where: str) -> Mapping[str, Any]:
    """Return a run's document from a file if every number that is used of it is a number, and not negative.

    Raises:
        BadInput: naming the place, the rank and the key.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("ranks"), list):
        raise BadInput(f"{where} is no run's document: it has no list of ranks")
    if not isinstance(document.get("request"), Mapping):
        raise BadInput(f"{where} is no run's document: it has no request")
    checked_int(document["request"].get("batch_size"), f"{where}: request.batch_size", 1, 10**9)
    for name in _NUMBERS:
        _check_number(document.get(name), name, where)
    if not document.get("samples"):
        raise BadInput(f"{where} counts no samples")
    if not isinstance(document.get("cost"), Mapping):
        raise BadInput(f"{where} has no cost")
    _check_number(document["cost"].get("usd"), "cost.usd", where)
    _check_cluster(document.get("cluster"), where)
    for place, row in enumerate(document["ranks"]):
        if not isinstance(row, Mapping):
            raise BadInput(f"{where}: row {place} of its ranks is no object")
        for name in _RANK_NUMBERS:
            if row.get(name) is None:
                raise BadInput(f"{where}: rank {shorten(row.get('rank'), 20)} lacks {name}")
            _check_number(row[name], name, f"{where}: rank {shorten(row.get('rank'), 20)}")
        if not isinstance(row.get("cold"), bool):
            raise BadInput(f"{where}: rank {row['rank']} does not say whether it was cold")
    return document


def _check_cluster(cluster: object, where: str) -> None:
    if cluster is None:
        return
    if not isinstance(cluster, Mapping):
        raise BadInput(f"{where} has a wrong cluster: {shorten(cluster, 40)}")
    for name in ("usd", "core_seconds_allocated", "core_seconds_used"):
        _check_number(cluster.get(name), f"cluster.{name}", where)


def _check_number(value: object, name: str, where: str) -> None:
    if value is None:
        return
    if not is_number(value, 0, _MOST) or 0 < value < 1 / _MOST:
        raise BadInput(f"{where} has a wrong {name}: {shorten(value, 40)}")


class Metric(NamedTuple):
    """A figure of a run.

    Attributes:
        title: what it is called.
        unit: of the number; "" for a count.
        better: whether less of it is better, or more, or neither.
        how: how it is obtained, one clause.
        of: computes it; None where it is not known.
    """

    title: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    how: str
    of: Callable[[Document], float | None]


def _mean_without_outliers(values: Sequence[float]) -> float | None:
    kept = without_outliers(values)
    return math.fsum(kept) / len(kept) if len(kept) else None


def _batch_s(run: Document) -> float | None:
    """Mean over ranks; the loop is what reading and computing take together."""
    batch = int(run["request"]["batch_size"])
    rows = [row for row in ranks_of_run(run) if row["samples"]]
    loops = [(row["wall_read_s"] + row["wall_compute_s"]) * batch / row["samples"] for row in rows]
    return _mean_without_outliers(loops)


def _peak_memory_mb(run: Document) -> float | None:
    return max((float(row["peak_rss_mb"]) for row in ranks_of_run(run)), default=None)


def _concurrent(run: Document) -> int:
    """Most ranks that overlapped; one that starts when another ends does not overlap with it."""
    edges = sorted(
        edge for row in ranks_of_run(run) if row["ended_at"] > row["started_at"] for edge in _edges_of(row)
    )  # an end sorts before a start at the same time
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


def _edges_of(row: Mapping[str, Any]) -> tuple[tuple[float, int], tuple[float, int]]:
    return (row["started_at"], 1), (row["ended_at"], -1)


def shares(ranks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of each stage over the wall seconds of the ranks; the rest is waiting and book-keeping."""
    whole = math.fsum(row["wall_total_s"] for row in ranks)
    if not whole > 0:
        return {}
    parts = {stage: math.fsum(row[f"wall_{stage}_s"] for row in ranks) / whole for stage in STAGES}
    return parts | {REST: max(1.0 - math.fsum(parts.values()), 0.0)}


def _share(stage: str) -> Callable[[Document], float | None]:
    return lambda run: shares(ranks_of_run(run)).get(stage)


def _number(name: str, scale: float = 1.0) -> Callable[[Document], float | None]:
    def number(run: Document) -> float | None:
        value = run.get(name)
        return None if value is None else value / scale

    return number


def _usd(run: Document) -> float | None:
    value = run["cost"].get("usd")
    return None if value is None else float(value)


def _of_cluster(name: str) -> Callable[[Document], float | None]:
    def figure(run: Document) -> float | None:
        value = (run.get("cluster") or {}).get(name)
        return None if value is None else float(value)

    return figure


def _per_million(run: Document) -> float | None:
    usd = _usd(run)
    return usd / run["samples"] * 1e6 if usd is not None else None


METRICS: dict[str, Metric] = {
    "makespan_s": Metric("Makespan", "s", "lower", "first rank's start to last rank's end", _number("makespan_s")),
    "end_to_end_s": Metric(
        "End to end", "s", "lower", "the whole flow, staging and summing up included", _number("end_to_end_s")
    ),
    "batch_s": Metric(
        "Time per batch", "s", "lower", "reading and computing of a rank over its batches, mean of ranks", _batch_s
    ),
    "warm_rank_s": Metric(
        "Warm rank", "s", "lower", "mean wall time", lambda run: _mean_without_outliers(rank_seconds(run, cold=False))
    ),
    "cold_rank_s": Metric(
        "Cold rank", "s", "lower", "mean wall time", lambda run: _mean_without_outliers(rank_seconds(run, cold=True))
    ),
    "cpu_rank_s": Metric(
        "CPU time of a rank",
        "s",
        "lower",
        "of all its threads, mean of ranks",
        lambda run: _mean_without_outliers([row["cpu_total_s"] for row in ranks_of_run(run)]),
    ),
    "samples_per_s": Metric(
        "Throughput", "samples/s", "higher", "by the wall clock, over the makespan", _number("samples_per_s")
    ),
    "mbit_per_s": Metric(
        "Throughput", "Mbit/s", "higher", "164,160 bits a sample, over the makespan", _number("throughput_bps", 1e6)
    ),
    "sum_of_rates_mbit_per_s": Metric(
        "Sum of the ranks' rates",
        "Mbit/s",
        "higher",
        "as if all ranks had run at once; no speed of the run",
        _number("throughput_bps_sum_of_ranks", 1e6),
    ),
    "peak_memory_mb": Metric(
        "Peak memory", "MB", "lower", "resident memory of the rank that used most", _peak_memory_mb
    ),
    "concurrent_ranks": Metric("Concurrent ranks", "", "neither", "most that overlapped", _concurrent),
    "usd": Metric("Cost", "USD", "lower", "the bill, method billed", _usd),
    "usd_per_million": Metric("Cost per million samples", "USD", "lower", "the bill over the samples", _per_million),
    "cluster_usd": Metric(
        "Cost of the cluster", "USD", "lower", "cores allocated at the price of its cluster file", _of_cluster("usd")
    ),
    "core_s_allocated": Metric(
        "Cores allocated",
        "core-s",
        "lower",
        "by a cluster, while the run saw them",
        _of_cluster("core_seconds_allocated"),
    ),
    "core_s_used": Metric("Cores used", "core-s", "lower", "of those, by ranks", _of_cluster("core_seconds_used")),
    "samples": Metric("Samples", "", "neither", "read by all ranks", _number("samples")),
    "cold_ranks": Metric(
        "Cold ranks",
        "",
        "neither",
        "first of their process",
        lambda run: sum(bool(row["cold"]) for row in ranks_of_run(run)),
    ),
    **{
        f"share_{stage}": Metric(f"Share of {stage}", "", "neither", "of the wall time of all ranks", _share(stage))
        for stage in (*STAGES, REST)
    },
}

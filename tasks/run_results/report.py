"""The report of a run: one HTML page that needs nothing else, and a short Markdown form of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from inference.contract.sample import BITS_PER_SAMPLE
from tasks.billing.cost import MEANINGS, Cost
from tasks.photoz.intervals import DELTA, METRICS
from tasks.photoz.plots import redshift_pictures
from tasks.reporting import formatting as display
from tasks.reporting.figures import of_this_run, rank_time_histogram, timeline
from tasks.reporting.formatting import (
    bit_rate,
    markdown_table,
    number,
    plain,
    ranks_of,
    seconds,
    spans,
    unit_price,
    usd,
)
from tasks.reporting.page import TEMPLATES

ALL_RANKS = 60  # a table of up to so many ranks shows them all, a longer one the slowest and the first SOME_RANKS


SOME_RANKS = 20


PHASES = (("initialize_s", "Initialize"), ("map_s", "Map"), ("summarize_s", "Summarize"))


class Stat(NamedTuple):
    """What a number is, the number with its unit, and how it was obtained."""

    label: str
    value: str
    how: str


class Column(NamedTuple):
    """A column of the table of ranks: its heading, the field it shows and how."""

    title: str
    field: str
    show: Callable[[Any], str]
    is_text: bool = False


COLUMNS = (
    Column("Rank", "rank", str),
    Column("Partitions", "data_path", str, is_text=True),
    Column("Samples", "samples", number),
    Column("Wall s", "wall_total_s", seconds),
    Column("Load s", "wall_load_s", seconds),
    Column("Read s", "wall_read_s", seconds),
    Column("Compute s", "wall_compute_s", seconds),
    Column("Write s", "wall_write_s", seconds),
    Column("CPU s", "cpu_total_s", seconds),
    Column("Samples/s", "samples_per_s", number),
    Column("Peak MB", "peak_rss_mb", number),
    Column("Billed s", "billed_s", seconds),
    Column("Attempt", "attempt", number),
    Column("Start", "cold", lambda cold: "cold" if cold else "warm", is_text=True),
    Column("Worker", "worker", lambda worker: str(worker)[:8], is_text=True),
    Column("Run", "resumed", lambda resumed: "earlier" if resumed else "this", is_text=True),
)


def render_report(
    summary: Mapping[str, Any], ranks: pd.DataFrame, predictions: pd.DataFrame | None, costs: Sequence[Cost]
) -> str:
    """The report as one HTML document without scripts or outside resources.

    Args:
        summary: the run's document (`tasks.run_results.summary.describe`).
        ranks: a row a finished rank (`tasks.run_results.summary.rank_table`), with billed_s where it is known.
        predictions: a row an object: z_pred, z_spec (NaN where unknown).
        costs: the bill, and after it what other methods say.
    """
    metrics = summary.get("metrics")
    return TEMPLATES.get_template("report.html").render(
        summary=summary,
        trouble=_trouble(summary),
        headline=_headline(summary, costs[0]),
        facts=_facts(summary),
        speed=_speed(summary, ranks),
        request=json.dumps(summary.get("request"), indent=2, ensure_ascii=False, default=str),
        columns=_columns(ranks),
        rank_tables=_rank_tables(ranks),
        resumed=int(ranks["resumed"].sum()),
        in_timeline=len(of_this_run(ranks)),
        timeline=timeline(ranks) if len(ranks) else None,
        histogram=rank_time_histogram(ranks) if len(ranks) else None,
        redshift_plots=redshift_pictures(predictions, metrics),
        metrics=_metrics(summary),
        delta=DELTA,
        costs=costs,
        meanings=MEANINGS,
        display=display,
    )


def report_markdown(summary: Mapping[str, Any], ranks: pd.DataFrame, costs: Sequence[Cost]) -> str:
    """The report's numbers as Markdown: headline, speed, metrics, bill, and the ranks that are missing."""
    bill, others = costs[0], costs[1:]
    parts = [f"# {plain(summary['result_path'])}"]
    trouble = _trouble(summary)
    if trouble:
        rows = [(cause["ranks"], cause["paths"], cause["error"]) for cause in trouble["causes"]]
        parts += [f"**{trouble['title']}**", markdown_table(("Ranks", "Partitions", "Cause"), rows)]
    parts.append(markdown_table(("", "", "How obtained"), _headline(summary, bill)))
    parts += ["## Speed", markdown_table(("", "", "How obtained"), _speed(summary, ranks))]
    if summary.get("metrics"):
        parts += ["## Redshifts", markdown_table(("", "", f"With {DELTA}"), _metrics(summary))]
    lines = [
        (item.name, number(item.quantity, item.unit, 4), item.how, unit_price(item.unit_usd), usd(item.usd))
        for item in bill.items
    ]
    lines.append((f"total, {bill.method}{', an estimate' if bill.estimate else ''}", "", "", "", usd(bill.usd)))
    columns = ("Item", "Quantity", "How obtained", "USD a unit", "USD")
    parts += ["## Bill", markdown_table(columns, lines), plain(bill.how)]
    meanings = [(cost.method, usd(cost.usd), MEANINGS[cost.method]) for cost in others]
    parts.append(markdown_table(("Other method", "USD", "Meaning"), meanings))
    if summary.get("notes"):
        parts.append(markdown_table(("Notes",), [(note,) for note in summary["notes"]]))
    return "\n\n".join(parts) + "\n"


def _headline(summary: Mapping[str, Any], bill: Cost) -> list[Stat]:
    metrics = summary.get("metrics") or {}
    ranks = f"by {summary['ranks_done']:,} of {ranks_of(summary['ranks_planned'])}"
    if summary.get("ranks_resumed"):
        ranks += f", {summary['ranks_resumed']:,} of them done before this run"
    cost = f"on AWS Lambda, method {bill.method}; {'an estimate' if bill.estimate else 'by the times AWS reported'}"
    scatter = f"scatter of {DELTA}" if metrics else "no spectroscopic redshifts to compare with"
    return [
        Stat("Redshifts predicted", number(summary.get("samples")), ranks),
        Stat("Makespan", number(summary.get("makespan_s"), "s"), "first rank's start to last rank's end"),
        Stat("Samples per second", number(summary.get("samples_per_s")), "by the wall clock, over the makespan"),
        Stat("Cost", usd(bill.usd), cost),
        Stat("NMAD", number(metrics.get("nmad")), scatter),
    ]


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, script = summary.get("model") or {}, summary.get("script") or {}
    execution = summary.get("execution") or {}
    counts = ("ranks_planned", "planned"), ("ranks_done", "done"), ("ranks_resumed", "done before this run")
    facts = {
        "Run": summary.get("run_id"),
        "Made": summary.get("created"),
        "Results": summary.get("result_path"),
        "Store": summary.get("store"),
        "Executor": summary.get("executor"),
        "Engine": ", ".join(str(summary[key]) for key in ("engine", "precision") if summary.get(key)),
        "Reduced precision": _precision_told(summary),
        "Model": model.get("key"),
        "SHA-256 of the weights": model.get("sha256"),
        "Parameters": number(model["parameters"]) if model.get("parameters") else None,
        "Script": script.get("key"),
        "SHA-256 of the script folder's listing": script.get("sha256"),
        "Function": summary.get("function"),
        "Execution": execution.get("arn"),
        "Ranks": ", ".join(f"{number(summary.get(key))} {word}" for key, word in counts),
    }
    return [(label, str(value)) for label, value in facts.items() if value]


def _precision_told(summary: Mapping[str, Any]) -> str | None:
    if summary.get("precision") in {None, "float32"}:
        return None
    error = number(summary.get("precision_error"))
    return f"redshifts differ from float32's by at most {error} (each worker's first galaxies, computed twice)"


def _speed(summary: Mapping[str, Any], ranks: pd.DataFrame) -> list[Stat]:
    bits = f"bits of model input ({BITS_PER_SAMPLE:,} a sample)"
    stats = [
        Stat("End to end", number(summary.get("end_to_end_s"), "s"), "the flow, staging and summing up included"),
        Stat("Throughput", bit_rate(summary.get("throughput_bps")), f"{bits} over the makespan"),
        Stat(
            "Sum of the ranks' own rates",
            bit_rate(summary.get("throughput_bps_sum_of_ranks")),
            "each rank's bits over its own loop, added up as if all had run at once; no speed of the run",
        ),
    ]
    execution = summary.get("execution") or {}
    phases = [(name, execution[key]) for key, name in PHASES if execution.get(key) is not None]
    stats += [Stat(name, number(value, "s"), "from the state machine's own history") for name, value in phases]
    cold = ranks["cold"].astype(bool)
    for kind, chosen in (("warm", ~cold), ("cold", cold)):
        times = ranks.loc[chosen, "wall_total_s"]
        if len(times):
            how = f"median wall time of {ranks_of(len(times))}{' that first loaded the engine' * (kind == 'cold')}"
            stats.append(Stat(f"Rank time, {kind}", number(times.median(), "s"), how))
    if len(ranks):
        how = "resident memory of the worker that used most (MB of 1,000,000 bytes)"
        stats.append(Stat("Peak memory", number(ranks["peak_rss_mb"].max(), "MB"), how))
    return stats


def _metrics(summary: Mapping[str, Any]) -> list[Stat]:
    metrics, spread = summary.get("metrics") or {}, summary.get("metrics_intervals") or {}
    stats = []
    for metric in METRICS:
        if metric.key in metrics:
            ends = [metric.show(end) for end in spread.get(metric.key, ())]
            told = f"{' to '.join(ends)} (95 % interval); " if ends else ""
            stats.append(Stat(metric.label, metric.show(metrics[metric.key]), told + metric.how))
    return stats


def _trouble(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is missing or failed, each cause with the ranks that it struck; None when nothing is."""
    missing, failed = summary.get("missing_ranks") or [], summary.get("failed_ranks") or []
    if not missing and not failed:
        return None
    causes: dict[str, list[Mapping[str, Any]]] = {}
    for failure in failed:
        causes.setdefault(str(failure["error"]), []).append(failure)
    told = {failure["rank"] for failure in failed}
    for rank in missing:
        if rank not in told:
            causes.setdefault("there is no result, and no error was told", []).append({"rank": rank})
    struck = f"{len(missing) or len(failed):,} of {ranks_of(summary['ranks_planned'])}"
    verb = "is" if len(missing) == 1 else "are"
    head = "NOT WHOLE, as tolerated" if summary.get("tolerated") else "INCOMPLETE"
    if summary.get("stopped"):
        head = f"STOPPED, {summary['stopped']}"
    return {
        "title": f"{head}: {struck} {verb} missing" if missing else f"{struck} failed",
        "causes": [
            {
                "ranks": spans([hit["rank"] for hit in hits]),
                "many": len(hits) > 1,
                "error": error,
                "paths": _paths(hits),
            }
            for error, hits in causes.items()
        ],
    }


def _paths(failures: Sequence[Mapping[str, Any]], most: int = 5) -> str:
    told = [failure.get("data_path") or [] for failure in failures]
    paths = [path for some in told for path in ([some] if isinstance(some, str) else some)]
    return ", ".join(paths[:most]) + (f" and {len(paths) - most:,} more" if len(paths) > most else "")


def _columns(ranks: pd.DataFrame) -> list[Column]:
    """Those that tell something about these ranks."""
    dull = set() if ranks["resumed"].any() else {"resumed"}
    return [column for column in COLUMNS if column.field in ranks and column.field not in dull]


def _rank_tables(ranks: pd.DataFrame) -> list[dict[str, Any]]:
    in_order = ranks.sort_values("rank")
    chosen = {"": in_order}
    if len(ranks) > ALL_RANKS:
        slowest = ranks.sort_values("wall_total_s", ascending=False).head(SOME_RANKS)
        chosen = {f"The slowest {SOME_RANKS}": slowest, f"The first {SOME_RANKS}": in_order.head(SOME_RANKS)}
    columns = _columns(ranks)
    return [
        {
            "title": title,
            "rows": [[column.show(row[column.field]) for column in columns] for row in part.to_dict("records")],
        }
        for title, part in chosen.items()
    ]

"""The report of a run: one HTML page that needs nothing else, and a short Markdown form of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from inference.contract.counted import counted
from inference.contract.sample import BITS_PER_SAMPLE
from tasks.billing.cost import MEANINGS, Cost
from tasks.photoz.calibration import Calibration
from tasks.photoz.magnitude import magnitude_of, title_of
from tasks.photoz.metric_intervals import BINS, DELTA, metric_stats
from tasks.photoz.plots import PIT_CAPTION, pit_histogram, redshift_pictures
from tasks.photoz.scores import coverage_in_bins, coverage_table, has_intervals, interval_stats, score
from tasks.photoz.spread import own_spread
from tasks.reporting.figures import Picture
from tasks.reporting.formatting import bit_rate, markdown_table, number, percent, plain, unit_price, usd
from tasks.reporting.page import Stat, render_page
from tasks.reporting.table import Table
from tasks.run_results.cluster_use import cluster_use
from tasks.run_results.expected import expected_stats
from tasks.run_results.failures import failures_of
from tasks.run_results.model_limits import model_limits
from tasks.run_results.rank_views import plots_of_ranks, tables_of_ranks
from tasks.run_results.worst_objects import worst_table

PHASES = (("initialize_s", "Initialize"), ("map_s", "Map"), ("summarize_s", "Summarize"))


class Pictures(NamedTuple):
    """The plots of a run: its ranks over time and by duration, and its redshifts."""

    of_ranks: list[Picture]
    of_redshifts: list[Picture]
    of_the_worst: Picture | None = None

    def for_artifacts(self) -> dict[str, Picture]:
        """The first of each kind, by the key of its artifact."""
        named = {"cosmic-plot-redshifts": self.of_redshifts[:1], "cosmic-plot-ranks": self.of_ranks[:1]}
        return {key: picture for key, found in named.items() for picture in found}


def pictures_of(
    summary: Mapping[str, Any],
    ranks: pd.DataFrame,
    predictions: pd.DataFrame | None,
    calibration: Calibration | None = None,
) -> Pictures:
    """Draw the plots of a run; the arguments are those of `render_report`."""
    redshifts = [*redshift_pictures(predictions, summary.get("metrics")), *_pit(predictions, calibration)]
    return Pictures(plots_of_ranks(summary, ranks), redshifts)


def render_report(
    summary: Mapping[str, Any],
    ranks: pd.DataFrame,
    predictions: pd.DataFrame | None,
    costs: Sequence[Cost],
    calibration: Calibration | None = None,
    pictures: Pictures | None = None,
) -> str:
    """The report as one HTML document without scripts or outside resources.

    Args:
        summary: the run's document (`tasks.run_results.summary.describe`).
        ranks: one row for each finished rank (`tasks.run_results.summary.rank_table`), with billed_s where it is known.
        predictions: a row for each object: z_pred, z_spec (NaN where unknown), and the intervals where there are any.
        costs: the bill, and after it what other methods say.
        calibration: of the model, where it has one.
        pictures: of the same, where they have been drawn already.
    """
    pictures = pictures or pictures_of(summary, ranks, predictions, calibration)
    return render_page(
        "report.html",
        summary=summary,
        failures=failures_of(summary),
        headline=_headline(summary, costs[0]),
        facts=_facts(summary),
        speed=_speed(summary, ranks),
        request=json.dumps(summary.get("request"), indent=2, ensure_ascii=False, default=str),
        rank_tables=tables_of_ranks(summary, ranks),
        rank_plots=pictures.of_ranks,
        redshift_plots=pictures.of_redshifts,
        uncertainty=interval_stats(summary.get("interval_scores") or {}),
        coverage=_coverage(predictions),
        worst=worst_table(summary["worst_objects"]) if summary.get("worst_objects") else None,
        worst_plot=pictures.of_the_worst,
        metrics=_metrics(summary),
        delta=DELTA,
        expected=expected_stats(summary),
        expected_from=(summary.get("prediction") or {}).get("source"),
        costs=costs,
        meanings=MEANINGS,
        limits=model_limits(summary),
    )


def report_markdown(summary: Mapping[str, Any], ranks: pd.DataFrame, costs: Sequence[Cost]) -> str:
    """The report's numbers as Markdown: headline, speed, metrics, bill, and the ranks that are missing."""
    bill, others = costs[0], costs[1:]
    parts = [f"# {plain(summary['result_path'])}"]
    failures = failures_of(summary)
    if failures:
        rows = [(which, where, why) for which, why, where in failures.causes]
        parts += [f"**{failures.title}**", markdown_table(("Ranks", "Partitions", "Cause"), rows)]
    parts.append(markdown_table(("", "", "How obtained"), _headline(summary, bill)))
    if summary.get("metrics"):
        parts += ["## Redshifts", markdown_table(("", "", f"With {DELTA}"), _metrics(summary))]
    parts += ["## Speed", markdown_table(("", "", "How obtained"), _speed(summary, ranks))]
    if expected := expected_stats(summary):
        parts += ["## Expected and actual", markdown_table(("", "Actual", "Expected"), expected)]
    if summary.get("interval_scores"):
        scores = interval_stats(summary["interval_scores"])
        parts += ["## Uncertainty", markdown_table(("", "", "What it is"), scores)]
    lines = [
        (item.name, number(item.quantity, item.unit, 4), item.how, unit_price(item.unit_usd), usd(item.usd))
        for item in bill.items
    ]
    total = ", ".join(filter(None, ("total", bill.method, bill.label)))
    lines.append((total, "", "", "", usd(bill.usd)))
    columns = ("Item", "Quantity", "How obtained", "USD a unit", "USD")
    parts += ["## Bill", markdown_table(columns, lines), plain(bill.how)]
    meanings = [(cost.method, usd(cost.usd), MEANINGS[cost.method]) for cost in others]
    parts.append(markdown_table(("Other method", "USD", "Meaning"), meanings))
    if limits := model_limits(summary):
        parts.append(markdown_table(("Where this may be believed",), [(limit,) for limit in limits]))
    if summary.get("notes"):
        parts.append(markdown_table(("Notes",), [(note,) for note in summary["notes"]]))
    return "\n\n".join(parts) + "\n"


def _headline(summary: Mapping[str, Any], bill: Cost) -> list[Stat]:
    metrics = summary.get("metrics") or {}
    ranks = f"by {summary['ranks_done']:,} of {counted(summary['ranks_planned'], 'rank')}"
    if summary.get("ranks_resumed"):
        ranks += f", {summary['ranks_resumed']:,} of them done before this run"
    price = f"no price known for {summary['request'].get('region')}" if bill.usd is None else "on AWS Lambda"
    cost = f"{price}, method {bill.method}; {bill.label or 'by the times AWS reported'}"
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
        "Reduced precision": _precision_note(summary),
        "Model": model.get("key"),
        "SHA-256 of the weights": model.get("sha256"),
        "Parameters": number(model["parameters"]) if model.get("parameters") else None,
        "Script": script.get("key"),
        "SHA-256 of the script folder's listing": script.get("sha256"),
        "Function": summary.get("function"),
        "Execution": execution.get("arn"),
        "Cluster": cluster_use(summary["cluster"]) if summary.get("cluster") else None,
        "Ranks": ", ".join(f"{number(summary.get(key))} {word}" for key, word in counts),
    }
    return [(label, str(value)) for label, value in facts.items() if value]


def _precision_note(summary: Mapping[str, Any]) -> str | None:
    if summary.get("precision") in {None, "float32"}:
        return None
    error = number(summary.get("precision_error"))
    return f"redshifts differ from float32's by at most {error} (each worker's first galaxies, computed twice)"


def _speed(summary: Mapping[str, Any], ranks: pd.DataFrame) -> list[Stat]:
    each = int(ranks["bits_per_sample"].max()) if "bits_per_sample" in ranks and len(ranks) else BITS_PER_SAMPLE
    bits = f"bits of model input ({each:,} a sample)"
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
            how = (
                f"median wall time of {counted(len(times), 'rank')}{' that first loaded the engine' * (kind == 'cold')}"
            )
            stats.append(Stat(f"Rank time, {kind}", number(times.median(), "s"), how))
    if len(ranks):
        how = "resident memory of the worker that used most (MB of 1,000,000 bytes)"
        stats.append(Stat("Peak memory", number(ranks["peak_rss_mb"].max(), "MB"), how))
    return stats


def _metrics(summary: Mapping[str, Any]) -> list[Stat]:
    stats = metric_stats(summary.get("metrics") or {}, summary.get("metrics_intervals") or {})
    flagged, objects = summary.get("out_of_domain"), summary.get("objects")
    if flagged is None or not objects:
        return stats
    how = f"{percent(flagged / objects)} of all objects, unlike the training's galaxies; 1 to 2 % are so by chance"
    return [*stats, Stat("Out of domain", number(flagged), how)]


def _pit(predictions: pd.DataFrame | None, calibration: Calibration | None) -> list[Picture]:
    if predictions is None or calibration is None or not has_intervals(predictions):
        return []
    names = ("z_pred", "z_spec", magnitude_of(predictions.columns))
    z_pred, z_spec, magnitude = (predictions[name].to_numpy() for name in names)
    return [
        Picture(pit_histogram(score(calibration, z_pred, z_spec, magnitude, own_spread(predictions)).pit), PIT_CAPTION)
    ]


def _coverage(predictions: pd.DataFrame | None) -> list[Table]:
    """Coverage of the intervals in bins of predicted redshift and of magnitude."""
    if predictions is None or not has_intervals(predictions):
        return []
    magnitude = magnitude_of(predictions.columns)
    return [
        coverage_table(name, title, coverage_in_bins(predictions[name].to_numpy(float), predictions, BINS))
        for name, title in (("z_pred", "predicted redshift"), (magnitude, title_of(magnitude)))
    ]

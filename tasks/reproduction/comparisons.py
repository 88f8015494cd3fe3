"""The class report's five tables: the printed value, the same recomputed from published files, ours, how, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.contract.counted import counted
from inference.contract.sample import BITS_PER_SAMPLE
from tasks.billing.cost import PRINTED_USD_PER_GB_S
from tasks.reporting.formatting import DASH, number, usd
from tasks.reporting.table import Column, Row, Table, as_text
from tasks.reproduction.ours import Ours, billed_seconds, execution, invocations, printed_formula, rank_rate
from tasks.reproduction.scales import PARTITIONS_MB, Scale

Digest = Mapping[str, Any]
Point = Mapping[str, Any]  # the axes of a cell of ours
USD_PER_GB_S, USD_PER_CALL = 0.0000166667, 0.20e-6  # of AWS Lambda in us-east-1, x86, first tier
FUNCTION_GB = 10.0  # of the published functions: 10,240 MB


@dataclass(frozen=True)
class Comparison:
    """One of the report's tables.

    Attributes:
        table: a row for each printed figure.
        how: how ours was obtained, a sentence or two.
        why: why the numbers differ, a sentence each.
    """

    table: Table
    how: str
    why: Sequence[str]


def _row(setting: str, figure: str, printed: str, recomputed: str, ours: str) -> Row:
    return {"setting": setting, "figure": figure, "printed": printed, "recomputed": recomputed, "ours": ours}


def _table(name: str, title: str, setting: str, rows: Sequence[Row], caption: str) -> Table:
    columns = [
        Column("setting", setting, as_text, text=True),
        Column("figure", "Figure", as_text, text=True, wide=True),
        Column("printed", "Printed", as_text),
        Column("recomputed", "Recomputed", as_text),
        Column("ours", "Ours", as_text),
    ]
    return Table(name, title, columns, list(rows), caption)


def _size(partition_mb: float, scale: Scale) -> str:
    ours = f", ours {partition_mb / scale.factor:g} MB" if scale.factor != 1 else ""
    return f"{partition_mb:g} MB{ours}"


def _spaced(size: str) -> str:
    return size.replace("MB", " MB").replace("GB", " GB")


def _run(digest: Digest, partition_mb: float) -> Mapping[str, Any] | None:
    """The published run of the whole data set in partitions of a size."""
    runs = (run for run in digest["runs"] if (run["partition_mb"], run["data_gb"]) == (partition_mb, 12.6))
    return next(runs, None)


def _map_s(digest: Digest, partition_mb: float) -> float | None:
    rows = (row for row in digest["map_phase"] if (row["partition_mb"], row["data_gb"]) == (partition_mb, 12.6))
    return next((float(row["map_phase_s"]) for row in rows), None)


def batch_size(digest: Digest, ours: Ours, scale: Scale) -> Comparison:
    """Execution time against batch size."""
    rows = []
    for batch, seconds, rate, memory in digest["printed"]["execution_time_vs_batch_size"]["rows"]:
        at: Point = {"batch_size": batch}
        files = [run for run in digest["runs"] if run["batch_size"] == batch and run["data_gb"] == 12.6]
        found = " and ".join(f"{run['batch_s']:.2f} s at {run['partition_mb']} MB" for run in files)
        rows += [
            _row(str(batch), "time a batch", f"{seconds:g} s", found or DASH, ours.shown("batch_s", "s", **at)),
            _row(
                str(batch),
                "throughput of a rank",
                f"{rate:g} “Mbps”",
                f"{batch / seconds:.1f} samples/s = {batch / seconds * BITS_PER_SAMPLE / 1e6:.1f} Mbit/s",
                ours.shown(rank_rate, "samples/s", **at),
            ),
            _row(str(batch), "memory", f"{memory:g} GB", DASH, ours.shown("peak_memory_mb", "MB", **at)),
        ]
    why = [
        "The printed “Mbps” are samples a second: batch size over time a batch gives them, within rounding.",
        "The printed memory and the published times of a rank are sums of a profiler over operators. Ours are the"
        " resident memory at its highest and the wall clock.",
        "A rank of the report had a function of 10,240 MB, about six processors, to itself. One of ours has one core.",
    ]
    how = (
        f"Local processes, one a core, {_spaced(scale.batch_partition)} partitions, the full-size model with random"
        " weights. A time a batch is what a rank's reading and computing take over its batches, mean of ranks."
    )
    caption = "Recomputed: 512 from the published records of the whole data set; rates from the printed time a batch."
    return Comparison(_table("batch-size", "Execution time against batch size", "Batch size", rows, caption), how, why)


def partition_size(digest: Digest, ours: Ours, scale: Scale) -> Comparison:
    """Execution time against partition size, with concurrent jobs."""
    rows = []
    printed = digest["printed"]["execution_time_vs_partition_size"]["rows"]
    for (size, seconds, rate, memory, jobs), own in zip(printed, scale.partitions, strict=True):
        at: Point = {"partition_size": own}
        name, run, phase = _size(size, scale), _run(digest, size), _map_s(digest, size)
        bits = _run(digest, PARTITIONS_MB[0])["bits"] if _run(digest, PARTITIONS_MB[0]) else None  # type: ignore[index]
        wall = f"{bits / phase / 1e9:.2f} Gbit/s over the map" if bits and phase else DASH
        summed = f"; sum of rates {run['sum_of_rates_bps'] / 1e9:.2f}" if run else ""
        batch = f"{run['batch_s']:.2f} s at batch 512" if run else DASH
        rows += [
            _row(name, "time a batch", f"{seconds:g} s", batch, ours.shown("batch_s", "s", **at)),
            _row(name, "throughput", f"{rate:g} Gbps", wall + summed, ours.shown("mbit_per_s", "Mbit/s", **at)),
            _row(name, "memory", f"{memory:g} GB", DASH, ours.shown("peak_memory_mb", "MB", **at)),
            _row(
                name,
                "ranks",
                f"{jobs} concurrent jobs",
                f"{counted(run['records'], 'record')}" if run else DASH,
                f"{ours.shown(lambda run: float(run['world_size']), **at)},"
                f" {ours.shown('concurrent_ranks', **at)} at once",
            ),
        ]
    why = [
        "The report reads 12.6 GB with a function for every partition, all at the same time. Ours shares two cores or"
        " whatever this machine has, so that larger partitions mean fewer turns and no fewer cores.",
        "The printed throughput is bits over the map phase where files tell it (3.9 and 3.6), not the sum of rates.",
        "The printed jobs are those of 12 GB in whole hundreds of MB; the published records of 12.6 GB are more.",
    ]
    how = (
        f"Local processes, one a core, batch size {scale.partition_batch}, {scale.samples:,} galaxies in each row."
        " Throughput is by the wall clock, first rank's start to last rank's end."
    )
    caption = "Recomputed from the published records and the map phase of the state machine's history, 12.6 GB."
    title = "Execution time against partition size, with concurrent jobs"
    return Comparison(_table("partition-size", title, "Partition", rows, caption), how, why)


def cost(digest: Digest, ours: Ours, scale: Scale) -> Comparison:
    """Invocations, seconds, memory and cost against partition size, at the largest data size."""
    rows, most = [], scale.data[-1]
    printed = digest["printed"]["lambda_cost_summary"]["rows"]
    for (size, calls, seconds, memory, dollars), own in zip(printed, scale.partitions, strict=True):
        at: Point = {"partition_size": own, "data_size": most}
        name, run = _size(size, scale), _run(digest, size)
        formula = calls * seconds * memory * PRINTED_USD_PER_GB_S
        billed = FUNCTION_GB * seconds * USD_PER_GB_S + calls * USD_PER_CALL
        by_formula, by_bill = ours.mean(printed_formula, **at), ours.mean("usd", **at)
        rows += [
            _row(
                name,
                "invocations",
                f"{calls}",
                f"{counted(run['records'], 'record')}" if run else DASH,
                ours.shown(invocations, **at),
            ),
            _row(
                name,
                "total seconds",
                f"{seconds:,.1f} s",
                f"{run['seconds']:,.1f} s, profiled" if run else DASH,
                ours.shown(billed_seconds, "s", **at),
            ),
            _row(name, "memory", f"{memory:g} GB", DASH, ours.shown("peak_memory_mb", "MB", **at)),
            _row(name, "cost by the report's formula", usd(dollars), usd(formula), usd(by_formula)),
            _row(name, "cost as AWS bills it", DASH, usd(billed), usd(by_bill)),
        ]
    why = [
        "The report's formula multiplies invocations by the total duration of all of them, so it counts the invocations"
        " twice. Its result is no price.",
        "AWS bills the memory that was allocated, 10,240 MB, not what was used.",
        f"Ours reads {_spaced(most or 'all')}, the report 12.6 GB. The emulator runs functions as processes of this"
        " machine: their times are this machine's, and the bill is what AWS would ask for such times.",
    ]
    how = (
        "Lambda on the emulator, as many ranks at once as there are cores. The bill is computed of the billed seconds."
    )
    caption = (
        f"Recomputed: the formula, and {FUNCTION_GB * 1024:,.0f} MB x total seconds x ${USD_PER_GB_S} + "
        f"${USD_PER_CALL:.7f} a call, both of the printed seconds; invocations and seconds from the published records."
    )
    title = "Invocations, seconds, memory and cost against partition size"
    return Comparison(_table("cost", title, "Partition", rows, caption), how, why)


def local_against_aws(digest: Digest, ours: Ours, scale: Scale) -> Comparison:
    """Local processes against AWS."""
    local = {metric: (here, there) for metric, here, there in digest["printed"]["local_vs_aws"]["rows"]}
    units = {"execution time per batch (s)": ("batch_s", "s", 1.0), "CPU time (s)": ("cpu_rank_s", "s", 1.0)}
    units |= {"memory (MB)": ("peak_memory_mb", "MB", 1.0)}
    rate = local["samples per second, normalised"]
    rows = []
    for where, place, executor in (("local", 0, "local"), ("AWS", 1, "lambda")):
        at: Point = {"executor": executor}
        for metric, pair in local.items():
            unit = metric.partition("(")[2].rstrip(")")
            title = metric.partition(" (")[0]
            recomputed = DASH
            if metric.startswith("throughput"):
                recomputed = f"{rate[place] * BITS_PER_SAMPLE / 1e6:.1f} Mbit/s"
                own = ours.shown(rank_rate, "Mbit/s", BITS_PER_SAMPLE / 1e6, **at)
            elif metric.startswith("samples"):
                recomputed = f"{512 / local['execution time per batch (s)'][place]:.0f} samples/s"
                own, unit = ours.shown(rank_rate, "samples/s", **at), "samples/s"
            else:
                own = ours.shown(units[metric][0], units[metric][1], **at)
            rows.append(_row(where, title, f"{number(pair[place])} {unit}".strip(), recomputed, own))
    why = [
        "The printed local throughput is eight times too high: bytes were taken for bits a second time. So AWS was 1.7"
        " times faster than the report's local machine, not 4.7 times slower.",
        "The printed CPU time and memory are a profiler's sums. Ours are the processor seconds of the process and its"
        " resident memory at its highest.",
        "Ours has both on the same cores, because the emulator's functions are processes of this machine: the"
        " difference is of processes that share them in another way, and says nothing of AWS's processors.",
    ]
    partitions = f"{_spaced(scale.batch_partition)} partitions"
    how = f"Batch size 512, {partitions}, local processes and Lambda on the emulator in turns."
    caption = "Recomputed: rates from the printed samples a second, these from the printed time of a batch of 512."
    return Comparison(_table("local-aws", "Local against AWS", "Where", rows, caption), how, why)


def events(digest: Digest, ours: Ours, scale: Scale) -> Comparison:
    """The events of an execution."""
    printed, logs = digest["printed"]["example_invocation"], digest["invocations"]
    phases = {row["partition_mb"]: row for row in digest["map_phase"] if row["data_gb"] == 12.6}
    of_map = "; ".join(f"{row['map_phase_s']:.1f} s at {size:g} MB" for size, row in phases.items())
    of_all = "; ".join(f"{row['end_to_end_s']:.1f} s at {size:g} MB" for size, row in phases.items())
    init = logs["init_s"]
    rows = [
        _row("Execution", "before the map", DASH, DASH, ours.shown(execution("initialize_s"), "s")),
        _row("Execution", "map", DASH, of_map, ours.shown(execution("map_s"), "s")),
        _row("Execution", "after the map", DASH, DASH, ours.shown(execution("summarize_s"), "s")),
        _row("Execution", "whole execution", DASH, of_all, ours.shown(execution("seconds"), "s")),
        _row("Execution", "state transitions", DASH, DASH, ours.shown(execution("state_transitions"))),
        _row(
            "Invocation",
            "duration",
            f"{printed['duration_ms'] / 1e3:.2f} s",
            f"{logs['duration_s']:.2f} s, mean of {logs['reports']} REPORT lines",
            ours.shown(execution("item_seconds"), "s"),
        ),
        _row(
            "Invocation",
            "billed duration",
            f"{printed['billed_duration_ms'] / 1e3:.2f} s",
            f"{logs['billed_s']:.2f} s",
            DASH,
        ),
        _row(
            "Invocation",
            "start of the process (Init Duration)",
            DASH,
            f"{sum(init) / len(init):.2f} s" if init else DASH,
            DASH,
        ),
        _row("Invocation", "memory given", f"{printed['memory_size_mb']:,} MB", "10,240 MB", DASH),
        _row(
            "Invocation",
            "memory used at most",
            f"{printed['max_memory_used_mb']:,} MB",
            f"{logs['max_memory_mb']:,.0f} MB",
            ours.shown("peak_memory_mb", "MB"),
        ),
    ]
    why = [
        f"Ours reads {scale.samples:,} galaxies in one execution of the state machine on the emulator, whose functions"
        " share this machine's cores.",
        "The published REPORT lines are of 2024 and of larger partitions than the printed example.",
    ]
    how = (
        "The history of the execution, which cosmic history prints, too. An invocation's duration is the mean of the"
        " items."
    )
    caption = "Recomputed from the published log lines, and from the means of the map phase at 12.6 GB."
    return Comparison(_table("events", "The events of an execution", "Of", rows, caption), how, why)

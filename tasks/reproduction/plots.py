"""The class report's plots beside ours: the published points on the left, our own on the right."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from tasks.reporting.figures import STYLE, WIDTH, Picture, legend_above, svg_of
from tasks.reproduction.ours import Ours
from tasks.reproduction.scales import PARTITIONS_MB, Scale
from tasks.sweeps.cells import megabytes
from tasks.sweeps.plots import LINES

Digest = Mapping[str, Any]
Points = list[tuple[float, float]]


class Panel(NamedTuple):
    """One of a plot's two halves: its title, its axes' labels, and lines by name."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]


def _pair(name: str, panels: Sequence[Panel], caption: str) -> list[Picture]:
    return [_picture(f"{name}-{side}", panel, caption) for side, panel in zip(("left", "right"), panels, strict=True)]


def _picture(name: str, panel: Panel, caption: str) -> Picture:
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    with mpl.rc_context(STYLE):
        axes = figure.add_subplot()
        for (label, points), (colour, marker, dash) in zip(panel.lines.items(), LINES, strict=False):
            x, y = zip(*sorted(points), strict=True)
            axes.plot(x, y, color=colour, marker=marker, linestyle=dash, markersize=5.5, label=label)
        axes.set_title(panel.title, fontsize=11)
        axes.set_xlabel(panel.x)
        axes.set_ylabel(panel.y)
        axes.set_xlim(0)
        axes.set_ylim(0, 1.08 * max(y for points in panel.lines.values() for _, y in points))
        axes.grid(axis="y", color="#e3e7ec", linewidth=0.7)
        axes.set_axisbelow(True)
        if len(panel.lines) > 1:
            legend_above(figure, *axes.get_legend_handles_labels())
        shown = f"{panel.title[:1].upper()}{panel.title[1:]}. {caption}"
        return Picture(svg_of(figure, f"reproduce-{name}", shown), shown)


def pictures_of(digest: Digest, ours: Mapping[str, Ours], scale: Scale) -> dict[str, list[Picture]]:
    """The plots by the name of the table that they belong to; none where we have no points."""
    return {
        "batch-size": _batch_size(digest, ours["batch-size"]),
        "partition-size": _throughput(digest, ours["partition-size"], scale),
        "cost": _data_size(digest, ours["cost"]),
    }


def _batch_size(digest: Digest, ours: Ours) -> list[Picture]:
    rows = digest["printed"]["execution_time_vs_batch_size"]["rows"]
    own = [(float(cell.axes["batch_size"]), cell.mean("batch_s") or 0.0) for cell in ours.cells]
    if not own:
        return []
    printed = [(float(row[0]), float(row[1])) for row in rows]
    panels = [
        Panel("printed, a Lambda function a rank", "batch size", "seconds a batch", {"time a batch": printed}),
        Panel("ours, a core a rank", "batch size", "seconds a batch", {"time a batch": own}),
    ]
    return _pair("batch-size", panels, "Time of a batch against batch size.")


def _throughput(digest: Digest, ours: Ours, scale: Scale) -> list[Picture]:
    rows = digest["printed"]["execution_time_vs_partition_size"]["rows"]
    phases = {row["partition_mb"]: row["map_phase_s"] for row in digest["map_phase"] if row["data_gb"] == 12.6}
    bits = next(run["bits"] for run in digest["runs"] if run["data_gb"] == 12.6)
    own = [(megabytes(cell.axes["partition_size"]), cell.mean("mbit_per_s") or 0.0) for cell in ours.cells]
    if not own:
        return []
    theirs = {
        "printed": [(float(row[0]), float(row[2])) for row in rows],
        "recomputed": [(float(size), bits / seconds / 1e9) for size, seconds in phases.items()],
    }
    panels = [
        Panel("published, 12.6 GB", "partition size in MB", "Gbit/s", theirs),
        Panel(f"ours, {scale.samples:,} galaxies", "partition size in MB", "Mbit/s", {"ours": own}),
    ]
    return _pair("throughput", panels, "Throughput by the wall clock against partition size.")


def _data_size(digest: Digest, ours: Ours) -> list[Picture]:
    theirs: dict[str, Points] = {}
    for run in digest["end_to_end"]:
        theirs.setdefault(f"{run['partition_mb']} MB", []).append((run["data_gb"], fmean(run["seconds"])))
    own: dict[str, Points] = {}
    for cell in ours.cells:
        place = PARTITIONS_MB[
            sorted({megabytes(each.axes["partition_size"]) for each in ours.cells}).index(
                megabytes(cell.axes["partition_size"])
            )
        ]
        seconds = cell.mean("end_to_end_s")
        if seconds is not None:
            own.setdefault(f"{place} MB", []).append((1024 * cell.runs[0].gigabytes, seconds))
    if not own:
        return []
    theirs = {f"{size} MB": theirs[f"{size} MB"] for size in PARTITIONS_MB if f"{size} MB" in theirs}
    colours = {name: theirs.get(name) or own[name] for name in [*theirs, *(name for name in own if name not in theirs)]}
    panels = [
        Panel("published, Step Functions and Lambda", "data in GB", "end to end in s", theirs),
        Panel(
            "ours, Lambda on the emulator",
            "data in MB",
            "end to end in s",
            {name: own[name] for name in colours if name in own},
        ),
    ]
    caption = "Time from start to end against data size, a line for each partition size of the report."
    return _pair("data-size", panels, caption)

"""The page of a reproduction: the class report's tables and plots beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.reporting.figures import Picture
from tasks.reporting.formatting import duration, plain
from tasks.reporting.page import render_page
from tasks.reproduction import comparisons
from tasks.reproduction.comparisons import Comparison
from tasks.reproduction.digest import published
from tasks.reproduction.ours import Ours
from tasks.reproduction.plots import pictures_of
from tasks.reproduction.scales import SCALES
from tasks.sweeps.machine import machine_line

_TABLES = {
    "batch-size": comparisons.batch_size,
    "partition-size": comparisons.partition_size,
    "cost": comparisons.cost,
    "local-aws": comparisons.local_against_aws,
    "events": comparisons.events,
}


class Section(NamedTuple):
    """A table with its plots, and what of ours failed in it: which run, and why."""

    comparison: Comparison
    pictures: Sequence[Picture]
    failed: Sequence[tuple[str, str, str]]


def sections_of(scale: str, sweeps: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """The report's tables, each beside ours.

    Args:
        scale: its name.
        sweeps: documents of the sweeps, by name; of one that is not there our column is empty.
    """
    digest, wanted = published(), SCALES[scale]
    ours = {name: Ours(sweeps.get(name)) for name in _TABLES}
    pictures = pictures_of(digest, ours, wanted)
    return [
        Section(compare(digest, ours[name], wanted), pictures.get(name, []), _failed(sweeps.get(name)))
        for name, compare in _TABLES.items()
    ]


def _failed(sweep: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    if sweep is None:
        return [("the sweep", "it did not run", "")]
    return [(f"repeat {run['repeat']}", str(run["error"]), "") for run in sweep["failed"]]


def render_reproduction(document: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """The page as one HTML document.

    Args:
        document: of the reproduction: `scale`, `elapsed_s`, `sweeps`.
        sections: of `sections_of`.
    """
    scale = SCALES[document["scale"]]
    machine = next((machine_line(sweep["machine"]) for sweep in document["sweeps"].values()), "")
    return render_page(
        "reproduction.html",
        scale=scale,
        took=duration(document["elapsed_s"]),
        machine=machine,
        source=published()["source"],
        runs=sum(sweep["runs"] for sweep in document["sweeps"].values()),
        sections=sections,
    )


def markdown(sections: Sequence[Section]) -> str:
    """The tables as Markdown, for the Prefect UI."""
    parts = []
    for section in sections:
        table = section.comparison.table
        parts += [f"## {table.title}", table.to_markdown(), f"**How.** {plain(section.comparison.how)}"]
        parts += [f"- {plain(sentence)}" for sentence in section.comparison.why]
    return "\n\n".join(parts) + "\n"

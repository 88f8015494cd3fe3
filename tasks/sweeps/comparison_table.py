"""A comparison of two runs or sweeps as tables: every figure, or those that have changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from inference.contract.counted import counted
from tasks.reporting.table import SPREAD, Column, Table, as_text

REGRESSION = "cosmic.comparison.regression"
_VERDICTS = (
    "The noise is the spread of a side's runs, or where it says by ranks, of the ranks within the runs. It is unknown"
    " where a side has one run."
)
_LITTLE = 0.05  # a difference of single runs, whose noise is not known, that is not shown by itself


def comparison_table(
    comparison: dict[str, Any], rows: Sequence[Mapping[str, Any]] | None = None, title: str = ""
) -> Table:
    """Metrics of B beside those of A, with the ratio and the verdict.

    Args:
        comparison: of `tasks.sweeps.comparison.compare`.
        rows: those of its rows that are shown; default all.
        title: default names both.
    """
    shown = [
        dict(row) | {"metric": f"{row['title']}, {row['unit']}" if row["unit"] else row["title"]}
        for row in (comparison["rows"] if rows is None else rows)
    ]
    columns = [
        *([Column("cell", "Cell", as_text, text=True)] if any(row["cell"] for row in shown) else []),
        Column("metric", "Metric", as_text, text=True),
        Column("a", "A", spread=True, detail=True),
        Column("b", "B", spread=True, detail=True),
        Column("ratio", "B : A", spread=True),
        Column("verdict", "Verdict", _in_brief, text=True),
    ]
    caption = f"A: {comparison['a']}. B: {comparison['b']}. {_VERDICTS} {SPREAD}"
    return Table("comparison", title or f"{comparison['b']} against {comparison['a']}", columns, shown, caption)


def _in_brief(verdict: str) -> str:
    """A verdict in the words of the caption."""
    verdict = verdict.replace(", by the spread of ranks within the runs", ", by ranks")
    return "noise unknown" if verdict.endswith("no noise known") else verdict


def settings_table(comparison: dict[str, Any]) -> Table:
    """The settings that differ, side by side."""
    columns = [
        Column(key, title, as_text, text=True) for key, title in (("setting", "Setting"), ("a", "A"), ("b", "B"))
    ]
    return Table("settings", "Settings that differ", columns, comparison["settings"], "")


def has_changed(row: Mapping[str, Any]) -> bool:
    """Whether a figure differs beyond the noise; where that is not known, whether it differs by more than 5 %."""
    if row["exceeds_noise"] is None:
        return row["a"] != row["b"] and (row["ratio"] is None or abs(row["ratio"] - 1) > _LITTLE)
    return bool(row["exceeds_noise"])


def the_rest(rows: Sequence[Mapping[str, Any]]) -> str:
    """A sentence that counts the figures which have not changed."""
    rest = [row for row in rows if not has_changed(row)]
    kinds = {
        "equal": sum(row["a"] == row["b"] for row in rest),
        "within the noise": sum(row["exceeds_noise"] is False and row["a"] != row["b"] for row in rest),
        f"within {_LITTLE * 100:g} % with no noise known": sum(
            row["exceeds_noise"] is None and row["a"] != row["b"] for row in rest
        ),
    }
    if not rest:
        return "Every figure differs."
    said = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    return f"{counted(len(rest), 'figure' if len(rest) == len(rows) else 'other figure')}: {said}. --all shows them."

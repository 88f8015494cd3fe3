"""A comparison of two runs or sweeps as a table."""

from typing import Any

from tasks.reporting.table import SPREAD, Column, Table, as_text

REGRESSION = "cosmic.comparison.regression"


def comparison_table(comparison: dict[str, Any]) -> Table:
    """Every metric of B beside that of A, with the ratio and the verdict."""
    rows = [
        row | {"metric": f"{row['title']}, {row['unit']}" if row["unit"] else row["title"]}
        for row in comparison["rows"]
    ]
    columns = [
        *([Column("cell", "Cell", as_text, text=True)] if any(row["cell"] for row in rows) else []),
        Column("metric", "Metric", as_text, text=True),
        Column("a", "A", spread=True),
        Column("b", "B", spread=True),
        Column("ratio", "B : A", spread=True),
        Column("verdict", "Verdict", as_text, text=True),
    ]
    caption = f"A: {comparison['a']}. B: {comparison['b']}. {SPREAD}"
    return Table("comparison", f"{comparison['b']} against {comparison['a']}", columns, rows, caption)

"""One table in its forms: CSV, JSON, Markdown and artifact; `terminal_table` prints it."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasks.reporting.formatting import DASH, known, markdown_table, number, spreadsheet_text

Row = dict[str, Any]


SPREAD = (
    "A number after ± is half the 95 % interval of the mean over the runs (Student's t, runs taken as independent);"
    " a single run has none."
)


class Column(NamedTuple):
    """A column: its key in the rows, its heading with the unit, and how a cell is shown.

    A column with a spread has `<key>_low` and `<key>_high` beside it in the rows, the ends of the 95 % interval. Text
    stands on the left; wide text explains a figure, and may be broken over lines in a page. A detail is left out first
    where a terminal is narrow.
    """

    key: str
    title: str
    show: Callable[[Any], str] = number
    spread: bool = False
    text: bool = False
    wide: bool = False
    detail: bool = False

    def shown(self, row: Mapping[str, Any]) -> str:
        """The cell as people read it."""
        value, low, high = (row.get(f"{self.key}{end}") for end in ("", "_low", "_high"))
        if not self.spread or not known(low) or not known(high) or math.isclose(low, high):  # type: ignore[arg-type]
            return self.show(value)
        half = (high - low) / 2  # type: ignore[operator]
        return f"{self.show(value)} ± {number(half, digits=2) if self.show is number else self.show(half)}"


def as_text(value: object) -> str:
    """Text as it is, a dash where there is none."""
    return DASH if value is None else str(value)


@dataclass(frozen=True)
class Table:
    """A table: rows of plain numbers, and the columns that say how they are shown."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str

    def cells(self) -> list[list[str]]:
        """Every row as text."""
        return [[column.shown(row) for column in self.columns] for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON."""
        columns = [{"key": column.key, "title": column.title} for column in self.columns]
        return {"title": self.title, "caption": self.caption, "columns": columns, "rows": list(self.rows)}

    def to_csv(self) -> str:
        """The table as CSV: a line of keys, then plain numbers; the ends of an interval have columns of their own."""
        keys = [key for column in self.columns for key in _keys(column)]
        text = io.StringIO()
        lines = csv.DictWriter(text, keys, extrasaction="ignore", lineterminator="\n")
        lines.writeheader()
        for row in self.rows:
            lines.writerow(
                {key: spreadsheet_text(value) if isinstance(value, str) else value for key, value in row.items()}
            )
        return text.getvalue()

    def to_markdown(self) -> str:
        """The table as Markdown, its caption below."""
        return f"{markdown_table([column.title for column in self.columns], self.cells())}\n\n{self.caption}"

    def to_artifact(self) -> list[dict[str, str]]:
        """The rows as Prefect's table artifact takes them."""
        titles = [column.title for column in self.columns]
        return [dict(zip(titles, cells, strict=True)) for cells in self.cells()]


def _keys(column: Column) -> Iterable[str]:
    return (column.key, f"{column.key}_low", f"{column.key}_high") if column.spread else (column.key,)

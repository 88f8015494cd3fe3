"""Printing for subcommands: tables, sentences and JSON documents."""

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from inference.contract.validation import sanitize_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from tasks.reporting.table import Table


class _Literal(Console):
    """Shows text letter for letter: brackets and colons in a path are no markup, and nothing moves the cursor."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(sanitize_text(text), **options)


def console(*, stderr: bool = False) -> Console:
    """A terminal to print tables on; as wide as a table needs where no terminal tells its width."""
    out = _Literal(stderr=stderr, markup=False, emoji=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = 120
    return out


def show_table(table: "Table | RichTable", *, drop: Sequence[str] = (), explain: bool = False) -> None:
    """Print a table as wide as the terminal (`tasks.reporting.terminal_table.print_table`)."""
    from tasks.reporting.terminal_table import print_table

    print_table(console(), table, drop=drop, explain=explain)


def say(sentence: str, style: str = "", *, stderr: bool = False) -> None:
    """Print one line, on a terminal broken between words only, so that paths can be copied; elsewhere as it is."""
    out = console(stderr=stderr)
    if out.is_terminal:
        from tasks.reporting.terminal import wrapped

        sentence = wrapped(sanitize_text(sentence), out.width)
    out.print(sentence, style=style, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print a document as the only thing on standard output; numbers that are none become null."""
    json.dump(without_nan(document), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def without_nan(value: Any) -> Any:
    """The value with NaN and infinities as None, for strict JSON."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):
        return None
    return value

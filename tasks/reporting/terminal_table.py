"""A table on a terminal: columns are narrowed or left out until every number and every word stands whole."""

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column as RichColumn
from rich.table import Table as RichTable
from rich.text import Text

from inference.contract.validation import sanitize_text
from tasks.reporting.table import Column, Table

EXPLAIN = "--explain says what each figure is."
_LONGEST_WORD = 24  # characters; a longer one, as a path, may be folded
_TEXT = 20  # characters of a sentence that shall stand on one line, if other columns have to go for it


def print_table(console: Console, table: Table | RichTable, *, drop: Sequence[str] = (), explain: bool = False) -> None:
    """Print a table below its title, which has a line of its own, so that a path in it can be copied.

    Args:
        console: a terminal of some width.
        table: a title of Rich's is taken from it.
        drop: headings of columns that may be left out, the first to go first; a `Table` knows its own.
        explain: show what each figure is, too: a `Table`'s wide columns and its caption.
    """
    if isinstance(table, Table):
        shown, drop = rich_table(table, explain=explain), _details(table)
    else:
        shown = table
    title, shown.title = shown.title, None
    shown.box, shown.padding, shown.show_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    left_out = fit_table(shown, console.width, drop)
    if title:
        console.print(Text(sanitize_text(str(title))), style="bold", soft_wrap=True, highlight=False)
    console.print(shown)
    if left_out:
        console.print(f"Left out of {console.width} columns: {', '.join(left_out)}.", style="dim", highlight=False)
    if explain and isinstance(table, Table) and table.caption:
        console.print(table.caption, style="dim", highlight=False)
    console.print()


def rich_table(table: Table, *, explain: bool = False) -> RichTable:
    """The table as Rich's, its title as it is."""
    shown = RichTable(title=Text(table.title))
    chosen = [number for number, column in enumerate(table.columns) if explain or not column.wide]
    for number in chosen:
        column = table.columns[number]
        shown.add_column(Text(column.title), justify="left" if column.text else "right", overflow="fold")
    for cells in table.cells():
        shown.add_row(*(Text(sanitize_text(cells[number])) for number in chosen))
    return shown


def _details(table: Table) -> list[str]:
    """What may go: details, then other figures, the last first; neither text nor the first column."""
    figures = [column for column in reversed(table.columns[1:]) if not column.text]
    return [column.title for column in sorted(figures, key=_is_no_detail)]


def _is_no_detail(column: Column) -> bool:
    return not column.detail


def fit_table(table: RichTable, width: int, drop: Sequence[str]) -> list[str]:
    """Set the widths of the columns, and leave some out where not all fit.

    Args:
        table: changed in place.
        width: columns of the terminal.
        drop: headings that may go, in this order.

    Returns:
        The headings that went.
    """
    left_out: list[str] = []
    for heading in (*drop, None):
        text = _TEXT if heading else 0  # nothing else can go: sentences are broken where they must
        least = [_least(column, text, header=table.show_header) for column in table.columns]
        spare = width - 2 * len(least) + 1 - sum(least)  # each is padded, and divided from the next
        if spare >= 0 or heading is None:
            break
        kept = [column for column in table.columns if str(column.header) != heading]
        left_out += [heading] * (len(kept) < len(table.columns))
        table.columns = kept
    wish = [_widest(column, header=table.show_header) - room for column, room in zip(table.columns, least, strict=True)]
    for column in table.columns:
        column.overflow = "fold"  # nothing is hidden
    for wanted in ("left", "right"):  # text before headings
        these = [number for number, column in enumerate(table.columns) if column.justify == wanted]
        sought = sum(wish[number] for number in these)
        given = min(max(spare, 0), sought)
        for number in these:
            table.columns[number].width = least[number] + (given * wish[number] // sought if sought else 0)
        spare -= given
    return left_out


def _least(column: RichColumn, text: int, *, header: bool) -> int:
    """The narrowest in which no number and no word is broken, nor a sentence before so many characters."""
    if column.no_wrap:  # it would be cut
        return _widest(column, header=header)
    words = [word for text in _texts(column, header=header) for word in text.split()]
    longest = max((min(cell_len(word), _LONGEST_WORD) for word in words), default=1)
    if column.justify == "right":
        return max([longest, *(cell_len(text) for text in _texts(column, header=False))])
    return max(longest, min(_widest(column, header=header), text))


def _widest(column: RichColumn, *, header: bool) -> int:
    return max((cell_len(line) for text in _texts(column, header=header) for line in text.splitlines()), default=1)


def _texts(column: RichColumn, *, header: bool) -> list[str]:
    return [str(cell) for cell in ([column.header] if header else []) + list(column.cells)]

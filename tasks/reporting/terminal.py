"""Progress bars on standard error, for anything that takes longer than a breath."""

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def announce(what: str) -> None:
    """Say what comes next, on a line of its own."""
    console = Console(stderr=True)
    text = wrapped(what, console.width) if console.is_terminal else what
    console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)


def wrapped(text: str, width: int) -> str:
    r"""Lines of a terminal, broken between words only, so that a path can be copied.

    >>> print(wrapped("  rank 3: /a/path/that/is/long is absent\nnext", 20))
      rank 3:
        /a/path/that/is/long
        is absent
    next
    """
    lines = text.split("\n")
    indents = [line[: len(line) - len(line.lstrip())] for line in lines]
    return "\n".join(
        textwrap.fill(
            line,
            max(width, 20),
            subsequent_indent=indent and f"{indent}  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line, indent in zip(lines, indents, strict=True)
    )


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is being waited for, while the block runs and nothing can be counted."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(what)
        yield
        return
    with console.status(what):
        yield


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Draw one bar while the block runs; the block is given a function that takes how many of `total` are done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        row = progress.add_task(what, total=total)
        yield lambda done: progress.update(row, completed=done)

"""Numbers and text as people read them, in the report and in the artifacts."""

import math
import re
from collections.abc import Sequence
from typing import Any

from inference.contract.counted import counted as counted  # for the templates
from inference.contract.validation import sanitize_text

DASH = "—"  # where a number is not known
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def known(value: Any) -> bool:
    """Whether there is a number: not None, not NaN, not infinite."""
    return value is not None and math.isfinite(value)


def number(value: Any, unit: str = "", digits: int = 3) -> str:
    """A number with so many significant digits (whole digits are never cut) and its unit.

    >>> number(1234567), number(0.012345, "s"), number(None)
    ('1,234,567', '0.0123 s', '—')
    """
    if not known(value):
        return DASH
    if value == int(value):
        text = f"{value:,.0f}"
    elif abs(value) < 1e-6:
        text = f"{value:.{digits}g}"
    else:
        text = f"{value:,.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"
    return f"{text} {unit}".rstrip()


def span(low: float, high: float) -> str:
    """The ends of a range, with as many digits as tell them apart.

    >>> span(0.1, 0.25), span(20.01, 20.04)
    ('0.1 to 0.25', '20.01 to 20.04')
    """
    texts = ([f"{end:.{digits}g}" for end in (low, high)] for digits in range(3, 18))
    return " to ".join(next((ends for ends in texts if ends[0] != ends[1]), [f"{end:.3g}" for end in (low, high)]))


def seconds(value: Any) -> str:
    """Seconds to the millisecond."""
    return f"{value:,.3f}" if known(value) else DASH


def duration(value: float) -> str:
    """Seconds as people say them: nothing finer than a minute beside hours.

    >>> duration(42.3), duration(95), duration(754), duration(12_300)
    ('42 s', '1 min 35 s', '12 min 34 s', '3 h 25 min')
    """
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def percent(value: Any) -> str:
    """A share of 1 as per cent."""
    return f"{value:.2%}" if known(value) else DASH


def file_size(size: int) -> str:
    """Bytes in the unit that suits them.

    >>> file_size(61_585_680), file_size(420)
    ('61.6 MB', '0.4 kB')
    """
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def usd(value: Any) -> str:
    """Money: cents from one dollar on, three digits below, nothing finer than a millionth.

    >>> usd(12.345), usd(0.0123456), usd(2e-7)
    ('$12.35', '$0.0123', '<$0.000001')
    """
    if not known(value):
        return DASH
    if value == 0:
        return "$0"
    if value < 1e-6:
        return "<$0.000001"
    return f"${value:,.{2 if value >= 1 else min(2 - math.floor(math.log10(value)), 6)}f}"


def unit_price(value: float | None) -> str:
    """The price of one unit in USD, with all its digits.

    >>> unit_price(0.0000166667)
    '0.0000166667'
    """
    return DASH if value is None else f"{value:.10f}".rstrip("0").rstrip(".")


def bit_rate(value: Any) -> str:
    """Bits per second in the unit that suits them.

    >>> bit_rate(2.5e6)
    '2.50 Mbit/s'
    """
    steps = (1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")
    scale, unit = next((step for step in steps if known(value) and value >= step[0]), steps[-1])
    return number(value / scale if known(value) else None, unit)


def spans(ranks: Sequence[int]) -> str:
    """Rank numbers as `3, 17-20, 31`.

    >>> spans([3, 17, 18, 19, 20, 31])
    '3, 17-20, 31'
    """
    runs: list[list[int]] = []
    for rank in sorted(set(ranks)):
        if runs and rank == runs[-1][-1] + 1:
            runs[-1][1:] = [rank]
        else:
            runs.append([rank])
    return ", ".join("-".join(map(str, run)) for run in runs)


def plain(text: object) -> str:
    r"""Text for a line or a cell of Markdown that shows it letter for letter, white space run together.

    >>> print(plain("a_b | <c>"))
    a\_b \| &lt;c&gt;
    """
    one_line = sanitize_text(" ".join(str(text).split()))
    escaped = re.sub(r"([\\`*_\[\]{}#!|~])", r"\\\1", one_line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def without_markup(text: str) -> str:
    """Text for a cell that a page may read as HTML or Markdown: no tag, no link, and hardly another letter.

    >>> without_markup("<b>rank</b> [7](http://x)")
    '< b>rank< /b> [7] (http://x)'
    """
    one_line = sanitize_text(" ".join(text.split()))
    return re.sub(r"<(?=[A-Za-z/!?])", "< ", one_line).replace("](", "] (").replace("][", "] [")


def spreadsheet_text(text: str) -> str:
    """Text for a cell of CSV; what a spreadsheet would take for a formula begins with an apostrophe.

    >>> [spreadsheet_text(text) for text in ("=1+1", "@SUM(A1)", "-0.5", "+cmd", "J0012-0331")]
    ["'=1+1", "'@SUM(A1)", '-0.5', "'+cmd", 'J0012-0331']
    """
    is_formula = text[:1] in {"=", "@", "\t", "\r"} or (text[:1] in {"+", "-"} and not _NUMBER.fullmatch(text))
    return f"'{text}" if is_formula else text


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; headers and cells are shown letter for letter.

    >>> print(markdown_table(["rank", "seconds"], [["0", "1.5"]]))
    | rank | seconds |
    | --- | --- |
    | 0 | 1.5 |
    """
    lines = [[plain(cell) for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

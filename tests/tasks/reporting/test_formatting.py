import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from inference.contract.counted import counted
from tasks.reporting.formatting import (
    DASH,
    bit_rate,
    markdown_table,
    number,
    percent,
    plain,
    spans,
    spreadsheet_text,
    unit_price,
    usd,
    without_markup,
)

READABLE = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"]), max_size=60)


def shown_by(markdown):
    """What a reader sees of one line of Markdown: its text, and the kinds of everything that is not text."""
    inline = MarkdownIt("commonmark", {"html": True}).parseInline(markdown)[0].children
    return "".join(token.content for token in inline), {token.type for token in inline} - {"text"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (204_520, "204,520"),
        (4074.83, "4,075"),
        (41.27, "41.3"),
        (0.011437, "0.0114"),
        (-0.00216, "-0.00216"),
        (0, "0"),
        (3.09e-8, "3.09e-08"),
        (None, DASH),
        (math.nan, DASH),
        (math.inf, DASH),
    ],
)
def test_a_number_keeps_three_digits_and_an_unknown_one_is_a_dash(value, text):
    assert number(value) == text


def test_a_unit_goes_with_a_number():
    assert number(1.5, "s") == "1.50 s"
    assert percent(0.00214) == "0.21%"
    assert percent(None) == DASH


def test_money_has_cents_from_a_dollar_on_and_digits_below():
    assert [usd(value) for value in (1234.567, 0.04404, 0.0000082, 2e-7)] == [
        "$1,234.57",
        "$0.0440",
        "$0.000008",
        "<$0.000001",
    ]
    assert [usd(0), usd(None), usd(math.nan)] == ["$0", DASH, DASH]
    assert unit_price(0.0000166667) == "0.0000166667"
    assert unit_price(3.09e-8) == "0.0000000309"


def test_bits_per_second_come_in_the_unit_that_suits_them():
    assert [bit_rate(value) for value in (3.9e9, 19.9e6, 164_160, None)] == [
        "3.90 Gbit/s",
        "19.9 Mbit/s",
        "164 kbit/s",
        DASH,
    ]


def test_one_rank_is_no_plural():
    assert [counted(count, "rank") for count in (0, 1, 1200)] == ["0 ranks", "1 rank", "1,200 ranks"]


def test_neighbouring_ranks_are_written_as_a_span():
    assert spans([30, 3, 17, 18, 19]) == "3, 17-19, 30"
    assert spans([]) == ""


@given(st.sets(st.integers(0, 200)))
def test_spans_name_every_rank_once(ranks):
    named = []
    for span in filter(None, spans(ranks).split(", ")):
        first, _, last = span.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(ranks)


@given(READABLE)
def test_markdown_shows_any_text_letter_for_letter(text):
    assert shown_by(plain(text)) == (" ".join(text.split()), set())


@given(st.lists(st.tuples(READABLE, READABLE), min_size=1, max_size=4))
def test_no_text_breaks_out_of_its_cell(rows):
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown_table(("a", "b"), rows))
    cells = [tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "td_open"]
    assert [shown_by(cell)[0] for cell in cells] == [" ".join(text.split()) for row in rows for text in row]


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "--1"])
def test_spreadsheet_text_is_never_a_formula(text):
    assert spreadsheet_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-0.5", "+12", "1e-3", "-99", "J0012-0331", "", "a=b"])
def test_spreadsheet_text_keeps_numbers_and_names(text):
    assert spreadsheet_text(text) == text


@given(READABLE)
def test_text_without_markup_has_no_tag_and_no_link_in_markdown(text):
    _, kinds = shown_by(without_markup(f"x {text} <b>[a](http://b) <img src=x>"))
    assert not kinds & {"html_inline", "link_open", "image"}

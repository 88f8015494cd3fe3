import io

import pytest
from rich.console import Console
from rich.table import Table as RichTable

from tasks.reporting.table import Column, Table, as_text
from tasks.reporting.terminal_table import print_table
from tasks.sweeps.cells import cells_of
from tasks.sweeps.comparison import compare, side_of
from tasks.sweeps.comparison_table import comparison_table
from tasks.sweeps.report import describe_sweep
from tasks.sweeps.tables import tables_of
from tests.support.swept import measured

WIDTHS = [80, 100]
AXES = {"batch_size": [32, 1024], "partition_size": ["25MB", "100MB"], "executor": ["local", "lambda"]}
PATH = "my-survey/results/filelimit-1000_batchsize-512_prefix-25MB/first"


@pytest.fixture(scope="module")
def swept():
    sides = [
        side_of(name, describe_sweep("s", "", measured(speed=speed, **AXES))) for name, speed in (("A", 1), ("B", 2))
    ]
    return [*tables_of(cells_of(measured(**AXES))), comparison_table(compare(*sides))]


def printed(table, width, **options):
    console = Console(width=width, file=io.StringIO())
    print_table(console, table, **options)
    return console.file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_of_a_sweep_fit_and_no_number_is_broken(swept, width):
    for table in swept:
        text = printed(table, width)
        assert max(map(len, text.splitlines())) <= width
        left_out = text.partition("Left out")[2]
        for column in table.columns:
            if not column.text and column.title not in " ".join(left_out.split()):
                assert all(column.shown(row) in text for row in table.rows), (table.name, column.title)


def test_details_go_first_and_what_went_is_named():
    columns = [
        Column("cell", "Cell", as_text, text=True),
        *(Column(key, key, detail=key == "b") for key in ("a", "b", "c")),
    ]
    table = Table("t", "Title", columns, [{"cell": "x" * 20, "a": 1e12, "b": 2e12, "c": 3e12}], "the caption")
    assert "Left out" not in printed(table, 80)
    text = printed(table, 60)
    assert "Left out of 60 columns: b." in text
    assert "3,000,000,000,000" in text
    assert "Left out of 40 columns: b, c." in printed(table, 40)


def test_the_caption_and_explanations_are_shown_where_they_are_asked_for():
    columns = [Column("a", "A"), Column("how", "What it is", as_text, text=True, wide=True)]
    table = Table("t", "Title", columns, [{"a": 1, "how": "the way"}], "the caption")
    assert "the way" not in printed(table, 80)
    explained = printed(table, 80, explain=True)
    assert "the way" in explained
    assert "the caption" in explained


def test_a_path_in_a_title_stands_on_one_line():
    table = RichTable(title=f"run {PATH}")
    table.add_column("a")
    table.add_row("1")
    assert f"run {PATH}\n" in printed(table, 40)


def test_nothing_is_hidden_where_nothing_can_be_left_out():
    table = RichTable()
    for heading in ("what", "ours", "reached"):
        table.add_column(heading)
    table.add_row("bytes over those of the others", "17.35 kB an image", "yes")
    text = printed(table, 34)
    assert "…" not in text
    assert "reached" in text.split()


def test_a_column_of_text_is_wrapped_between_words():
    table = RichTable()
    table.add_column("what")
    table.add_column("s", justify="right")
    table.add_row("nothing of a sentence is broken within a word", "1,234,567.890")
    text = printed(table, 40)
    assert "1,234,567.890" in text
    words = text.split()
    assert {"nothing", "sentence", "broken", "within"} <= set(words)


def test_a_column_that_is_not_to_be_wrapped_is_not_cut():
    table = RichTable(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row("rows with plausible magnitudes", "60 of 60 " * 12)
    assert "rows with plausible magnitudes " in printed(table, 80)

import pytest
from rich.table import Table

from flows.cli.options import bucket_and_path
from flows.cli.terminal import console, say
from inference.errors import BadInput

HOSTILE = ["results/[/red]", "[bold]x", ":smile:", "[link=http://x]y[/link]", "a\\[b", "$x^$"]


@pytest.mark.parametrize("text", HOSTILE)
def test_brackets_and_colons_are_shown_as_they_are(capsys, text):
    say(text)
    table = Table(text, title=text)
    table.add_row(text)
    console().print(table)
    assert capsys.readouterr().out.count(text) == 4


@pytest.mark.parametrize("text", ["\x1b[2Jx", "x\x07", "\x9b31m", "x\ry", "\ud800", "\u202ex"])
def test_nothing_that_is_shown_steers_the_terminal_or_breaks_its_encoding(capsys, text):
    say(text)
    table = Table(text, title=text)
    table.add_row(text)
    console().print(table)
    out = capsys.readouterr().out
    assert not set(out) & {"\x1b", "\x07", "\x9b", "\r", "\ud800", "\u202e"}
    assert "x" in out or "ud800" in out


def test_a_path_that_is_none_is_refused_in_brief():
    with pytest.raises(BadInput, match="RESULT_PATH is written bucket/result_path, not"):
        bucket_and_path("x" * 10_000)

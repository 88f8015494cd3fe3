import shlex

import pytest

from flows.cli import main
from flows.cli.command_table import COMMANDS, EXAMPLES, GROUPS
from flows.cli.parser import parser_of, usage


def test_usage_shows_every_command_once_under_its_group():
    lines = usage().splitlines()
    for group, commands in GROUPS.items():
        start = lines.index(f"{group}:") + 1
        assert [line.split()[0] for line in lines[start : start + len(commands)]] == list(commands)


@pytest.mark.parametrize(
    "example", [example for examples in EXAMPLES.values() for example in examples if not example.startswith("source")]
)
def test_example_of_the_help_is_understood(example):
    program, name, *words = shlex.split(example.partition(" > ")[0].replace("\\\n", ""))
    assert program == "cosmic"
    parser_of(name).parse_args(words)


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_the_terminal(command, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = parser_of(command).format_help() if command else usage()
    assert [line for line in shown.splitlines() if len(line) > width] == []


def test_every_command_has_an_example():
    assert EXAMPLES.keys() == COMMANDS.keys()


def test_help_ends_in_examples_as_they_are_typed(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert capsys.readouterr().out.endswith("\n".join(["", *(f"  {each}" for each in EXAMPLES["run"]), ""]))


@pytest.mark.parametrize(("typed", "meant"), [("rnu", "run"), ("summarise", "summarize"), ("catalog", "catalogue")])
def test_a_mistyped_command_is_answered_with_the_one_meant(typed, meant, capsys):
    assert main([typed]) == 2
    assert f"(did you mean {meant}?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "request.json", "--exectuor", "lambda"], "(did you mean --executor?)"),
        (["run", "request.json", "--exectuor=lambda"], "(did you mean --executor?)"),
        (["run", "request.json", "--zzzz"], "unrecognized arguments: --zzzz;"),
        (["run"], "required: REQUEST.json;"),
        (["run", "request.json", "--executor", "lamda"], "(did you mean lambda?)"),
        (["run", "request.json", "--executor", "nothing"], "'dask');"),
    ],
)
def test_a_mistyped_option_is_one_sentence_with_the_one_meant(words, said, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.endswith("`cosmic run --help` shows all\n")
    assert shown.count("\n") == 1

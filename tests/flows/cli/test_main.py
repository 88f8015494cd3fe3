import subprocess
import sys

import pytest

from flows.cli import COMMANDS, main


def test_without_a_command_the_usage_is_shown_and_nothing_done(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_help_names_every_command_and_the_exit_codes(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    assert "exit codes" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"usage: cosmic {command}" in capsys.readouterr().out


def test_a_command_that_there_is_not_is_named(capsys):
    assert main(["rnu"]) == 2
    assert "'rnu'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["run", "none.json"], "none.json"),
        (["run", "none.json", "--workers", "-1"], "--workers"),
        (["simulate", "--samples", "0", "--out", "x.pt"], "samples"),
        (["simulate", "--samples", "3", "--out", "x.txt"], "--out"),
        (["simulate", "--samples", "3", "--out", "x.pt", "--workers", "0"], "workers"),
        (["simulate", "--samples", "3", "--seed", "-1", "--out", "x.pt"], "seed"),
        (["partition", "none.pt", "--size", "25MB", "--to", "parts"], "none.pt"),
        (["init", "Not A Bucket"], "BUCKET"),
        (["cost", "bucket"], "RESULT_PATH"),
        (["cost", "bucket/results/none"], "results/none"),
    ],
)
def test_wrong_words_are_one_sentence_with_exit_code_2_and_write_nothing(words, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"cosmic {words[0]}: ")
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_no_command_needs_heavy_libraries_to_explain_itself():
    imports = "; ".join(f"import flows.cli.commands.{name.replace('-', '_')}" for name in COMMANDS)
    heavy = "{'prefect', 'pandas', 'matplotlib', 'torch', 'boto3', 'pydantic', 'pyarrow', 'astropy', 'galsim'}"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"


def test_the_command_offers_every_method_of_the_bill():
    from flows.cli.commands.cost import METHODS
    from tasks import bill as cost

    assert METHODS == cost.METHODS


@pytest.mark.parametrize(
    "words", [["inspect"], ["metrics"], ["partition", "--samples", "1", "--to", "out"], ["ingest", "--to", "out"]]
)
@pytest.mark.parametrize("name", ["a" * 5_000, "loop"])
def test_name_that_no_file_system_takes_is_one_sentence(words, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    command, *options = words
    assert main([command, name, *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert name[:50] in said
    assert len(said) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]

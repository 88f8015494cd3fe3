import subprocess

import pytest

from flows.cli import main


@pytest.fixture
def completed(capsys):
    """What bash offers after these words, the last of which is being typed."""
    main(["completion", "bash"])
    script = capsys.readouterr().out

    def complete(*words):
        ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cosmic; echo "${COMPREPLY[*]}"'
        command = ["bash", "-c", f"{script}\n{ask}", "bash", "cosmic", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    return complete


def test_commands_are_completed(completed):
    assert completed("sum") == ["summarize"]
    assert {"run", "bench", "doctor"} <= set(completed(""))


def test_options_of_the_command_are_completed(completed):
    assert completed("run", "request.json", "--ex") == ["--executor"]
    assert completed("init", "--ex") == []


def test_words_that_an_option_takes_are_completed(completed):
    assert completed("run", "--executor", "l") == ["local", "lambda"]


def test_file_names_are_left_to_the_shell(completed):
    assert completed("run", "req") == []


def test_zsh_loads_what_reads_the_script_of_bash(capsys):
    assert main(["completion", "zsh"]) == 0
    assert "\nautoload -U +X bashcompinit && bashcompinit\n" in capsys.readouterr().out


def test_words_that_stand_by_themselves_are_completed(completed):
    assert completed("model", "") == ["new"]
    assert completed("completion", "z") == ["zsh"]
    assert "--size" in completed("model", "--")

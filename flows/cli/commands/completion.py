"""cosmic completion: a script for the shell, made from the command lines of all subcommands."""

import argparse

from flows.cli.command_table import COMMANDS

_SHELLS = ("bash", "zsh")
# File names follow where nothing else is known: `-o default`, as zsh understands it, too.
_SCRIPT = """# What makes {shell} complete `cosmic`: commands, options, and the words that an option takes.
{before}_cosmic() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        words="{commands} --help --version"
    else
        case "${{COMP_WORDS[1]}} $previous" in
{choices}
        esac
        if [[ -z $words && $COMP_CWORD -eq 2 && $current != -* ]]; then
            case "${{COMP_WORDS[1]}}" in
{first}
            esac
        fi
        if [[ -z $words && $current == -* ]]; then
            case "${{COMP_WORDS[1]}}" in
{options}
            esac
        fi
    fi
    [[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _cosmic cosmic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("shell", choices=_SHELLS, help="whose script is printed")


def main(args: argparse.Namespace) -> int:
    """Print the script."""
    from flows.cli.parser import parser_of

    options, choices, first = [], [], []
    for name in COMMANDS:
        parser = parser_of(name)
        options.append(f'                {name}) words="{" ".join(parser.options())}" ;;')
        if words := parser.words():
            first.append(f'                {name}) words="{" ".join(words)}" ;;')
        choices += [
            f'            "{name} {option}") words="{" ".join(known)}" ;;' for option, known in parser.choices().items()
        ]
    script = _SCRIPT.format(
        shell=args.shell,
        before="autoload -U +X bashcompinit && bashcompinit\n" if args.shell == "zsh" else "",
        commands=" ".join(COMMANDS),
        first="\n".join(first),
        options="\n".join(options),
        choices="\n".join(choices),
    )
    print(script)  # noqa: T201
    return 0

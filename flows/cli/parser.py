"""The command line of one subcommand, and what is said of a word that is none."""

import argparse
import importlib
import re
from types import ModuleType
from typing import NoReturn

from flows.cli.command_table import COMMANDS, EXAMPLES, GROUPS
from inference.contract.near import near
from inference.errors import shorten_words


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with a command line, and names the option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        meant = near(unknown[1], self.options()) if unknown else ""
        meant = near(wrong[1], re.findall(r"'([^']*)'", wrong[2])) if wrong else meant
        self.exit(2, f"{self.prog}: {shorten_words(message)}{meant}; `{self.prog} --help` shows all\n")

    def options(self) -> list[str]:
        """The long options."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]

    def words(self) -> list[str]:
        """The words that may stand by themselves, where an argument has a list of them."""
        return [str(each) for action in self._actions if not action.option_strings for each in action.choices or ()]

    def choices(self) -> dict[str, list[str]]:
        """The words that may follow an option, of those that have a list of them."""
        return {
            name: [str(choice) for choice in action.choices]
            for action in self._actions
            if action.choices
            for name in action.option_strings
        }


def module_of(name: str) -> ModuleType:
    """The module of a subcommand."""
    return importlib.import_module(f"flows.cli.commands.{name.replace('-', '_')}")


def parser_of(name: str) -> Parser:
    """The command line of a subcommand, with examples."""
    what = COMMANDS[name]
    parser = Parser(
        prog=f"cosmic {name}",
        description=f"{what[:1].upper()}{what[1:]}.",
        epilog="\n".join(["examples:", *(f"  {example}" for example in EXAMPLES[name])]),
        formatter_class=_Formatter,
    )
    module_of(name).add_arguments(parser)
    return parser


def usage() -> str:
    """All subcommands, in groups."""
    width = max(map(len, COMMANDS))
    lines = ["usage: cosmic COMMAND ...", "", "cosmic COMMAND --help says more and gives examples; cosmic --version"]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:<{width}}  {what}" for name, what in commands.items())]
    first = ("cosmic doctor", "cosmic run request.json", "cosmic summarize my-survey/results/first")
    lines += ["", "examples:", *(f"  {example}" for example in first), "", "exit codes:"]
    codes = {
        "0": "done",
        "1": "the run failed or is incomplete",
        "2": "something wrong was found before the first write",
        "130": "interrupted",
        "143": "ended by SIGTERM",
    }
    return "\n".join([*lines, *(f"  {code:<3}  {what}" for code, what in codes.items())])


class _Formatter(argparse.HelpFormatter):
    """Fills the description as usual and leaves the examples, which begin with a heading, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:\n") else super()._fill_text(text, width, indent)

"""cosmic doctor: what of this machine works, and what to do where it does not."""

import argparse
import textwrap

from flows.cli.options import add_json, add_store
from flows.cli.prefect_server import hush
from flows.cli.terminal import console, print_json, say

_STYLES = {"ok": "green", "absent": "yellow", "failed": "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_store(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Look, show; 1 where something that is needed does not work."""
    hush(verbose=False)
    from flows.cli.checkup import checkup

    found = []
    for check in checkup(args.store):
        found.append(check)
        if not args.json:
            say(_beside(f"{check.state:<6}  {check.what:<14}  ", check.found), _STYLES[check.state])
            if check.state != "ok" and check.way_on:
                say(_beside(f"{'':<6}  {'':<14}  -> ", check.way_on), "dim")
    if args.json:
        print_json({"checks": [check.to_dict() for check in found]})
    return 1 if any(check.state == "failed" for check in found) else 0


def _beside(lead: str, text: str) -> str:
    """What was found beside what was looked at, on a terminal in a column of its own."""
    out = console()
    if not out.is_terminal:
        return lead + text
    width = max(out.width - len(lead), 20)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return lead + f"\n{' ' * len(lead)}".join(lines)

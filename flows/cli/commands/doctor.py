"""cosmic doctor: what of this machine works, and what to do where it does not."""

import argparse

from flows.cli.options import add_json, add_store
from flows.cli.prefect_server import hush
from flows.cli.terminal import print_json, say

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
            say(f"{check.state:<6}  {check.what:<14}  {check.found}", _STYLES[check.state])
            if check.state != "ok" and check.way_on:
                say(f"{'':<6}  {'':<14}  -> {check.way_on}", "dim")
    if args.json:
        print_json({"checks": [check.to_dict() for check in found]})
    return 1 if any(check.state == "failed" for check in found) else 0

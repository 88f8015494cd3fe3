"""cosmic destroy: what a stack made removed, and nothing else."""

import argparse
import os
import sys

from flows.cli.options import add_aws_credentials
from flows.cli.terminal import say
from inference.errors import BadInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--stack-name", default="cosmic-flows", metavar="NAME", help="default %(default)s")
    parser.add_argument(
        "--with-data", action="store_true", help="also the bucket that the stack made, with all versions of all objects"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--endpoint-url", metavar="URL", help="of an emulator")
    add_aws_credentials(parser)


def main(args: argparse.Namespace) -> int:
    """Say what would go, ask, remove, say what is kept."""
    from tasks.aws.destruction import plan_removal, remove
    from tasks.prefect_support.aws_credentials import credentials

    if args.endpoint_url:
        os.environ["AWS_ENDPOINT_URL"] = args.endpoint_url
    with credentials(args.aws_credentials):
        removal = plan_removal(args.stack_name, with_data=args.with_data)
        for line in removal.lines():
            say(f"to be removed: {line}", stderr=True)
        if removal.kept:
            say(removal.kept, stderr=True)
        if not args.yes and not _agreed(args.stack_name):
            say("nothing was removed")
            return 1
        remove(removal, show=lambda line: say(line, "dim", stderr=True))
    say(f"the stack {args.stack_name} is removed")
    return 0


def _agreed(stack: str) -> bool:
    """Whether a person at the terminal types the stack's name.

    Raises:
        BadInput: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise BadInput("removing a stack needs --yes where there is no terminal to ask at; nothing was removed")
    say(f"Type the stack's name, {stack}, to remove all of this:", stderr=True)
    return sys.stdin.readline().strip() == stack

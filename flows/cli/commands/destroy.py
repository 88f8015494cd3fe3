"""cosmic destroy: the stack removed, its buckets only when asked."""

import argparse
import os

from flows.cli.options import add_aws_credentials
from flows.cli.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--stack-name", default="cosmic-flows", metavar="NAME", help="default %(default)s")
    parser.add_argument("--with-data", action="store_true", help="also the bucket, with every version of every object")
    parser.add_argument("--endpoint-url", metavar="URL", help="of an emulator")
    add_aws_credentials(parser)


def main(args: argparse.Namespace) -> int:
    """Remove; say what is kept."""
    from tasks.aws.stack import destroy
    from tasks.prefect_support.aws_credentials import credentials

    if args.endpoint_url:
        os.environ["AWS_ENDPOINT_URL"] = args.endpoint_url
    with credentials(args.aws_credentials):
        kept = destroy(
            args.stack_name,
            with_data=args.with_data,
            show=lambda line: say(line, "dim", stderr=True),
        )
    say(f"stack {args.stack_name} is gone")
    for bucket in kept:
        say(f"the bucket {bucket} is kept; with --with-data it goes, too")
    return 0

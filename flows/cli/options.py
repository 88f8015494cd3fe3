"""What subcommands share: options, checks of their values, printing."""

import argparse

from inference.contract.object_keys import checked_bucket, checked_key
from inference.contract.validation import shorten
from inference.errors import BadInput

DEFAULT_STORE = ".cosmic/store"


def add_store(parser: argparse.ArgumentParser, default: str = DEFAULT_STORE) -> None:
    """Add `--store`."""
    parser.add_argument(
        "--store",
        default=default,
        metavar="ROOT",
        help="folder under which the buckets lie, or s3:// (default %(default)s)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document on standard output, nothing else there",
    )


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add `--explain`."""
    parser.add_argument("--explain", action="store_true", help="say below each table what its figures are")


def add_aws_credentials(parser: argparse.ArgumentParser) -> None:
    """Add `--aws-credentials`."""
    parser.add_argument(
        "--aws-credentials",
        metavar="BLOCK",
        help="name of a Prefect AwsCredentials block (default: as AWS tools look for credentials)",
    )


def bucket_and_path(value: str, what: str = "RESULT_PATH", form: str = "bucket/result_path") -> tuple[str, str]:
    """Split RESULT_PATH, written `bucket/result_path`, or what else is written alike.

    Raises:
        BadInput: it is not of that form.
    """
    bucket, _, path = value.partition("/")
    if not path:
        raise BadInput(f"{what} is written {form}, not {shorten(value, 120)}")
    return checked_bucket(bucket, what), checked_key(path, what)

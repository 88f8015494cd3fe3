"""What subcommands share: options, checks of their values, printing."""

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from inference.errors import BadInput
from inference.fields import brief, legible
from inference.keys import checked_bucket, checked_key

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
        raise BadInput(f"{what} is written {form}, not {brief(value, 120)}")
    return checked_bucket(bucket, what), checked_key(path, what)


class _Literal(Console):
    """Shows text letter for letter: brackets and colons in a path are no markup, and nothing moves the cursor."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(legible(text), **options)


def console(*, stderr: bool = False) -> Console:
    """A terminal to print tables on; as wide as a table needs where no terminal tells its width."""
    out = _Literal(stderr=stderr, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = 120
    return out


def say(sentence: str, style: str = "", *, stderr: bool = False) -> None:
    """Print one line as it is; only the terminal wraps it, so that paths can be copied."""
    console(stderr=stderr).print(sentence, style=style, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print a document as the only thing on standard output; numbers that are none become null."""
    json.dump(plain(document), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def plain(value: Any) -> Any:
    """The value with NaN and infinities as None, for strict JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):
        return None
    return value

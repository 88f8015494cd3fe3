"""cosmic open: the report of a run in the browser."""

import argparse
import webbrowser

from flows.cli.options import add_store, bucket_and_path
from flows.cli.terminal import say
from inference.errors import BadInput

_VALID_S = 3600  # of a link to S3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("result_path", metavar="RESULT_PATH", help="bucket/result_path of the run")
    add_store(parser)


def main(args: argparse.Namespace) -> int:
    """Find the report, print its address, open it; no browser is no failure."""
    from inference.storage.store import Store

    bucket, path = bucket_and_path(args.result_path)
    store, key = Store(args.store), f"{path}/report.html"
    if store.head(bucket, key) is None:
        raise BadInput(f"there is no report {bucket}/{key} in {args.store}: `cosmic run` writes it at the end of a run")
    local = store.local_path(bucket, key)
    if local is not None:
        from tasks.prefect_support.running_ui import address_of

        url = address_of(local) or local.resolve().as_uri()
    else:
        from tasks.aws.session import client

        url = client("s3").generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=_VALID_S
        )
        say("Whoever has this address can read the report for an hour:", "dim", stderr=True)
    say(url)
    if not webbrowser.open(url):
        say("No browser was found here: copy the address.", "dim", stderr=True)
    return 0

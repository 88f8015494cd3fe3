"""cosmic init BUCKET: a bucket with scripts/ and results/."""

import argparse

from flows.cli.options import add_store
from flows.cli.terminal import say
from inference.contract.object_keys import checked_bucket
from inference.storage.store import Store

FOLDERS = {
    "scripts/": "Script folders to run lie here.\n",
    "results/": "Results of runs lie here, a folder a result_path.\n",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("bucket", metavar="BUCKET", help="name, 3 to 63 characters a-z 0-9 . -")
    add_store(parser)


def main(args: argparse.Namespace) -> int:
    """Make the bucket; what exists already stays."""
    from inference.storage.writable import check_writable

    bucket = checked_bucket(args.bucket, "BUCKET")
    store = Store(args.store)
    check_writable(store)
    if store.is_local:
        store.make_bucket(bucket)
    else:
        from tasks.aws.buckets import make_bucket

        make_bucket(bucket)
    made = [folder for folder in FOLDERS if store.head(bucket, f"{folder}README.txt") is None]
    for folder in made:
        store.create(bucket, f"{folder}README.txt", FOLDERS[folder].encode())
    say(f"bucket {bucket} in {store.root}: {'made ' + ' and '.join(made) if made else 'was there already'}")
    return 0

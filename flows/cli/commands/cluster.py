"""cosmic cluster: what a cluster file would start, checked without starting a worker."""

import argparse
from pathlib import Path

from flows.cli.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="the cluster file")


def main(args: argparse.Namespace) -> int:
    """Check the file; print the job script of a batch system, or what would start."""
    from tasks.executors.cluster_file import Cluster, needs_dask

    needs_dask()
    cluster = Cluster.read(str(args.file))
    cluster.check()
    most = cluster.most_workers
    if cluster.scheduler is not None:
        say(f"{args.file}: ranks go to the workers of the scheduler at {cluster.scheduler}, which answers")
        return 0
    if (script := cluster.job_script()) is not None:
        print(script)  # noqa: T201
    count = "as many workers as Dask decides" if most is None else f"at most {most} workers"
    say(f"{args.file}: {cluster.cluster_class}, {count}, one rank at a time on each", stderr=True)
    return 0

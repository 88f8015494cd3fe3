"""cosmic cluster: what a cluster file would start, checked without starting a worker."""

import argparse
from pathlib import Path

from flows.cli.terminal import say
from inference.contract.counted import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="the cluster file")


def main(args: argparse.Namespace) -> int:
    """Check the file; print the job script of a batch system, or what would start."""
    from tasks.executors.cluster_file import Cluster, needs_dask
    from tasks.executors.dask_connection import Connection

    needs_dask()
    cluster = Cluster.read(str(args.file))
    if cluster.scheduler is not None:
        with Connection(cluster) as found:
            there = counted(len(found.workers()), "worker")
        say(f"{args.file}: the scheduler at {cluster.scheduler} answers and has {there}, one rank at a time on each")
        return 0
    cluster.check()
    most = cluster.most_workers
    if (script := cluster.job_script()) is not None:
        print(script)  # noqa: T201
    count = "as many workers as Dask decides" if most is None else f"at most {counted(most, 'worker')}"
    say(f"{args.file}: {cluster.cluster_class}, {count}, one rank at a time on each", stderr=True)
    return 0

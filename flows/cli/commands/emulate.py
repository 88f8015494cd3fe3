"""cosmic emulate: the AWS emulator with the stack deployed, around a command."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from flows.cli.terminal import say
from inference.contract.object_keys import RESERVED, checked_bucket
from inference.errors import BadInput, StoreError
from inference.storage.store import S3_ROOT, Store
from tasks.reporting.terminal import bar

_BUCKET = "cosmicai-emulated"
_ENDS_BY_ITSELF_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--with", dest="folder", type=Path, metavar="FOLDER", help="a local store, whose buckets are uploaded first"
    )
    parser.add_argument("--port", type=int, metavar="N", help="of the emulator (default a free one)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")


def main(args: argparse.Namespace) -> int:
    """Start, upload, deploy, run; leave nothing behind."""
    from tasks.aws.emulator import emulated, environment, inherited
    from tasks.aws.stack import install

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise BadInput("name the command to run: cosmic emulate -- COMMAND")
    if args.folder is not None and not args.folder.is_dir():
        raise BadInput(f"--with: there is no folder {args.folder}")
    if args.folder is not None:
        _buckets(args.folder)
    if args.port is not None and not 1 <= args.port <= 65_535:
        raise BadInput(f"--port must lie between 1 and 65535, not {args.port}")
    with _terminated_like_interrupted(), emulated(args.port) as endpoint:
        os.environ.update(environment(endpoint))
        for name in set(os.environ) - set(inherited(os.environ)) - set(environment(endpoint)):
            del os.environ[name]
        buckets = _upload(args.folder) if args.folder is not None else []
        install("cosmic-flows", (buckets or [_BUCKET])[0], {})
        uploaded = f", {', '.join(buckets)} uploaded" if buckets else ""
        say(f"AWS emulator at {endpoint}, stack deployed{uploaded}", "dim", stderr=True)
        return _run(command)


def _buckets(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [checked_bucket(name, f"--with: the folder {folder / name}") for name in names]


def _upload(folder: Path) -> list[str]:
    """Make each bucket of a local store and put its objects there.

    What this project keeps for itself stays behind: leases, which are of processes that know nothing of the copy, and
    notes of ETags that the copy does not have. Objects that are gone by the time of their turn are left out.
    """
    from tasks.aws.session import client

    source, target, s3 = Store(folder), Store(S3_ROOT), client("s3")
    buckets = _buckets(folder)
    objects = [(bucket, stored) for bucket in buckets for stored in source.list(bucket, "") if _is_copied(stored.key)]
    for bucket in buckets:
        s3.create_bucket(Bucket=bucket)
    with bar("uploading", len(objects)) as show:
        for done, (bucket, stored) in enumerate(objects, 1):
            path = source.local_path(bucket, stored.key)
            assert path is not None  # noqa: S101 - the source is a folder
            try:
                target.write(bucket, stored.key, path)
            except StoreError:
                if path.exists():
                    raise
            show(done)
    return buckets


def _is_copied(key: str) -> bool:
    """Whether an object is no lease and no note; the mark of incomplete partitions is copied with these."""
    from inference.runs.plan import INCOMPLETE

    *folders, name = key.split("/")
    return name == INCOMPLETE or not any(folder.endswith(RESERVED) for folder in folders)


def _run(command: list[str]) -> int:
    """Run the command to its end; an interrupt is the command's to answer, for a few seconds."""
    beside = Path(sys.executable).parent
    search = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        process = subprocess.Popen(command, env=os.environ | {"PATH": search})
    except OSError as error:
        raise BadInput(f"cannot run {command[0]}: {error.strerror}") from None
    try:
        code = process.wait()
    except KeyboardInterrupt as ended:
        if isinstance(ended, _Terminated):
            process.terminate()  # a terminal sends Ctrl-C to both, but this signal came to this process alone
        for end in (None, process.terminate, process.kill):
            if end is not None:
                end()
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(timeout=_ENDS_BY_ITSELF_S)
                break
        raise
    return code if code >= 0 else 128 - code


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP."""


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that closes, end this command as Ctrl-C does: nothing is left running."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""cosmic emulate: the AWS emulator with the stack deployed, around a command."""

import argparse
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from flows.cli.emulated_store import Objects, buckets_of, keep, needed, objects_on_s3, upload, written_since
from flows.cli.terminal import say
from flows.cli.termination import Terminated, terminated_like_interrupted
from inference.contract.counted import counted
from inference.errors import BadInput
from inference.storage.store import Store
from inference.storage.writable import check_place, check_writable

_BUCKET = "cosmicai-emulated"
_ENDS_BY_ITSELF_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--with",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="a local store; the buckets that the command or its files name are uploaded first, or all",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="a local store, into which what was written is copied at the end or on Ctrl-C",
    )
    parser.add_argument("--port", type=int, metavar="N", help="of the emulator (default a free one)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")


def main(args: argparse.Namespace) -> int:
    """Start, upload, deploy, run; leave nothing behind."""
    from tasks.aws.emulator import emulated_here
    from tasks.aws.stack import install

    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise BadInput("name the command to run: cosmic emulate -- COMMAND")
    if args.folder is not None and not args.folder.is_dir():
        raise BadInput(f"--with: there is no folder {args.folder}")
    if args.keep is not None and args.keep.exists() and not args.keep.is_dir():
        raise BadInput(f"--keep: {args.keep} is a file: name a folder")
    if args.keep is not None:
        check_writable(Store(args.keep))  # at the end it would be too late
    there = buckets_of(args.folder) if args.folder is not None else []
    buckets = needed(there, command)
    for bucket in buckets:
        check_place(Store(args.folder), bucket, "")  # links that lead elsewhere are not uploaded
    if args.port is not None and not 1 <= args.port <= 65_535:
        raise BadInput(f"--port must lie between 1 and 65535, not {args.port}")
    with terminated_like_interrupted(), emulated_here(args.port) as endpoint:
        if buckets:
            upload(args.folder, buckets)
        install("cosmic-flows", (buckets or [_BUCKET])[0], {})
        uploaded = f", {', '.join(buckets)} uploaded" if buckets else ""
        say(f"AWS emulator at {endpoint}, stack deployed{uploaded}", "dim", stderr=True)
        if left := sorted(set(there) - set(buckets)):
            say(f"The command names no other bucket, so these stayed behind: {', '.join(left)}", "dim", stderr=True)
        before = objects_on_s3()
        try:
            return _run(command)
        finally:  # after Ctrl-C and SIGTERM too; a second one ends this
            _end(before, args.keep)


def _end(before: Objects, kept: Path | None) -> None:
    """Keep what the command wrote, and say where it is: its own last lines name places on an S3 that ends now."""
    made = written_since(before)
    objects = f"{counted(len(made), 'object')} that the command wrote"
    if kept is None:
        if made:
            say(f"Gone with the emulator: {objects}; --keep FOLDER keeps them", "dim", stderr=True)
        return
    keep(made, kept)
    say(f"Kept in {kept}: {objects}", "dim", stderr=True)
    for bucket, key in made:
        if key.endswith("/report.html"):
            say(f"report: {(kept / bucket / key).resolve()}", stderr=True)


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
        if isinstance(ended, Terminated):
            process.terminate()  # a terminal sends Ctrl-C to both, but this signal came to this process alone
        for end in (None, process.terminate, process.kill):
            if end is not None:
                end()
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(timeout=_ENDS_BY_ITSELF_S)
                break
        raise
    return code if code >= 0 else 128 - code

"""The `cosmic` command. Each subcommand is a module of this folder, imported only when it is called."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version

from flows.cli.command_table import COMMANDS
from flows.cli.parser import module_of, parser_of, usage
from inference.contract.near import near
from inference.contract.validation import sanitize_text, shorten
from inference.errors import BadInput, CosmicError
from inference.storage.aws_identity import NO_CREDENTIALS, NO_REGION

# Some as [tool.prefect] in pyproject.toml has them, for a command that is started in another folder; Prefect
# reads them when it is imported.
_PREFECT_DEFAULTS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",  # Prefect's client: else it tells of its telemetry in the midst of ours
    # A server that is gone is asked for 6 s before a run ends without it, in place of a minute at every step.
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    # Often enough for deployments/server/crash-detection.yaml; Prefect takes no less.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}


# What a file system may refuse wherever a file is named, and the exit code: 2 where the name itself is wrong.
_OF_FILES = {errno.ENAMETOOLONG: 2, errno.ELOOP: 2, errno.EACCES: 2, errno.EPERM: 2, errno.EIO: 1, errno.ENOSPC: 1}

# What is found before anything is read or written, by whichever client of AWS asks first.
_NOT_SET = {NO_CREDENTIALS, NO_REGION}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for variable, value in _PREFECT_DEFAULTS.items():
        os.environ.setdefault(variable, value)
    if not words or words[0] in {"-h", "--help"}:
        print(usage())  # noqa: T201
        return 0 if words else 2
    if words[0] == "--version":
        print(f"cosmic {version('cosmic-flows')}")  # noqa: T201
        return 0
    name, *rest = words
    if name not in COMMANDS:
        hint = f"{near(name, COMMANDS)}; `cosmic --help` lists all"
        print(f"cosmic: there is no command {shorten(sanitize_text(name))}{hint}", file=sys.stderr)  # noqa: T201
        return 2
    parser = parser_of(name)
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a terminal that is closed; nohup ignores the signal
            signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        return int(module_of(name).main(parser.parse_args(rest)))
    except CosmicError as error:
        from flows.cli.terminal import say

        say(f"cosmic {name}: {error}", stderr=True)
        return 2 if isinstance(error, BadInput) or str(error) in _NOT_SET else 1
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (KeyboardInterrupt, Exception) as error:
        # Interrupted while it imports or parses, a library makes an error of its own of it.
        if not isinstance(error, KeyboardInterrupt) and not interrupted.is_set():
            if not isinstance(error, OSError) or error.errno not in _OF_FILES:
                raise
            where = f"{shorten(os.fsdecode(error.filename), 200)}: " if isinstance(error.filename, str | bytes) else ""
            print(f"cosmic {name}: {where}{error.strerror}", file=sys.stderr)  # noqa: T201
            return _OF_FILES[error.errno]
        print(f"cosmic {name}: interrupted; what was written so far is kept", file=sys.stderr)  # noqa: T201
        return 130

"""The `cosmic` command. Each subcommand is a module of this folder, imported only when it is called."""

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version

from inference.contract.validation import sanitize_text
from inference.errors import BadInput, CosmicError

COMMANDS = {
    "init": "make a bucket with scripts/ and results/",
    "simulate": "simulate a survey as one .pt or .safetensors file",
    "partition": "cut a survey into partitions 1.pt, 2.pt, ...",
    "inspect": "what a file is, which columns and bands it has, what is doubtful",
    "ingest": "FITS cut-outs and a table of magnitudes into partitions",
    "run": "run a model over a partitioned data set: redshifts, table, bill, report",
    "bench": "run a sweep: tables, plots and findings over what varies",
    "compare": "two runs or sweeps side by side: ratios, and whether they exceed the noise",
    "summarize": "the tables of any combined_data.json, ours or the replaced system's",
    "cost": "what a finished run costs, by one of three methods",
    "prices": "the price book brought up to date from AWS's published price list",
    "catalogue": "a run's redshifts as one file: Parquet, FITS, VOTable or CSV, with units and provenance",
    "metrics": "how good redshifts are, as the field reports it: with intervals, in bins, as a page",
    "calibrate": "give a model an uncertainty for each redshift, from a run over galaxies of known redshift",
    "train": "train a model on a partitioned set: masked pre-training of the encoder, then redshifts",
    "import-checkpoint": "a published checkpoint, a pickled module, as .safetensors; nothing of it is executed",
    "deploy": "functions, state machine, roles and logs on AWS, from one template",
    "destroy": "remove what deploy made, after asking; its bucket only with --with-data",
    "emulate": "the AWS emulator with the stack deployed, around a command",
    "cluster": "what a cluster file would start, as its job script; nothing is started",
    "examples": "requests, sweeps, recipes and deployments that come with the package, copied into a folder",
    "ui": "a Prefect server on this machine, where runs appear from then on",
    "logs": "what CloudWatch has of a run, by rank",
    "history": "how long the phases of a Step Functions execution took",
}
# The first two as [tool.prefect] in pyproject.toml has them, for a command that is started in another folder; Prefect
# reads them when it is imported.
_PREFECT_DEFAULTS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A server that is gone is asked for 6 s before a run ends without it, in place of a minute at every step.
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    # Often enough for deployments/server/crash-detection.yaml; Prefect takes no less.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
_MODULES = {name: f"flows.cli.commands.{name.replace('-', '_')}" for name in COMMANDS}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: cosmic COMMAND ... (cosmic COMMAND --help says more; cosmic --version)",
            "",
            *lines,
            "",
            "exit codes: 0 done, 1 the run failed or is incomplete, 2 something wrong was found before the first write,"
            " 130 interrupted, 143 ended by SIGTERM",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for variable, value in _PREFECT_DEFAULTS.items():
        os.environ.setdefault(variable, value)
    if not words or words[0] in {"-h", "--help"}:
        print(_usage())  # noqa: T201
        return 0 if words else 2
    if words[0] == "--version":
        print(f"cosmic {version('cosmic-flows')}")  # noqa: T201
        return 0
    name, *rest = words
    if name not in COMMANDS:
        print(f"cosmic: there is no command {name!r}\n\n{_usage()}", file=sys.stderr)  # noqa: T201
        return 2
    module = importlib.import_module(_MODULES[name])
    parser = argparse.ArgumentParser(
        prog=f"cosmic {name}", description=COMMANDS[name][:1].upper() + COMMANDS[name][1:] + "."
    )
    module.add_arguments(parser)
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a terminal that is closed; nohup ignores the signal
            signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        return int(module.main(parser.parse_args(rest)))
    except CosmicError as error:
        print(f"cosmic {name}: {sanitize_text(error)}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, BadInput) else 1
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (KeyboardInterrupt, Exception) as error:
        # Interrupted while it imports or parses, a library makes an error of its own of it.
        if not isinstance(error, KeyboardInterrupt) and not interrupted.is_set():
            raise
        print(f"cosmic {name}: interrupted; what was written so far is kept", file=sys.stderr)  # noqa: T201
        return 130

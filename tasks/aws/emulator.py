"""The AWS emulator around a piece of work: started on a free port, gone without a trace afterwards."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from inference.errors import BadInput
from inference.scripts.process import guard
from inference.storage.temporary import temporary_folder

REGION = "us-east-1"
_HOST = "127.0.0.1"
_STARTS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 5.0


_MARK = "COSMIC_EMULATOR"


def is_emulated() -> bool:
    """Whether this process talks to the emulator, which alone says so: an endpoint may be anybody's."""
    return bool(os.environ.get(_MARK)) and os.environ.get(_MARK) == os.environ.get("AWS_ENDPOINT_URL")


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs so that every AWS client in it talks to the emulator, and to nothing else."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        _MARK: endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": _unproxied("NO_PROXY"),
        "no_proxy": _unproxied("no_proxy"),
    }


def _unproxied(name: str) -> str:
    """Hosts that are reached without a proxy: the environment's, and the emulator's."""
    hosts = [host for host in os.environ.get(name, "").split(",") if host and host != _HOST]
    return ",".join([*hosts, _HOST])


def inherited(base: Mapping[str, str]) -> dict[str, str]:
    """An environment without what would lead an AWS client elsewhere: profiles, session tokens, other endpoints."""
    unwanted = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    return {name: value for name, value in base.items() if name not in unwanted and "AWS_ENDPOINT_URL" not in name}


@contextmanager
def emulated(port: int | None = None) -> Iterator[str]:
    """Run the emulator; yield its address.

    It and the function processes that it starts are one process group with a temporary folder of its own; both are gone
    at the end, however it comes: where this process is killed, the group goes with it, and the folder with the next.

    Raises:
        BadInput: the emulator is not installed, does not start, or the port is taken.
    """
    if importlib.util.find_spec("ministack") is None:
        raise BadInput("the emulator is not installed: pip install 'cosmic-flows[emulator]'")
    port = _free_port(port or 0)
    with ExitStack() as closing:
        folder = closing.enter_context(temporary_folder("emulator"))
        mark, watch = closing.enter_context(guard())
        endpoint = f"http://{_HOST}:{port}"
        settings = environment(endpoint) | {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": _HOST,
            "TMPDIR": str(folder),
            "S3_DATA_DIR": str(folder / "s3"),
            "STATE_DIR": str(folder / "state"),
            "LOG_LEVEL": "ERROR",
            "LAMBDA_WARM_TTL_SECONDS": "300",
        }
        log = folder / "emulator.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=inherited(os.environ) | settings | mark,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
            )
        watch(process.pid)
        try:
            _wait_for(endpoint, process, log)
            yield endpoint
        finally:
            with _undisturbed():
                _end(process)
                closing.close()


@contextmanager
def emulated_here(port: int | None = None) -> Iterator[str]:
    """Run the emulator as `emulated` does, and let this process and those that it starts talk to it until the end.

    Raises:
        BadInput: as `emulated`.
    """
    before = dict(os.environ)
    with emulated(port) as endpoint:
        wanted = inherited(os.environ) | environment(endpoint)
        try:
            _set_environment(wanted)
            yield endpoint
        finally:
            _set_environment(before)


def _set_environment(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def _free_port(wanted: int) -> int:
    """The port that is wanted, or any (0), if nothing listens there: what did would be taken for the emulator."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, wanted))
        except OSError as error:
            raise BadInput(
                f"the emulator cannot have port {wanted}: {(error.strerror or str(error)).lower()}"
            ) from None
        return int(probe.getsockname()[1])


def _wait_for(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise BadInput(f"the emulator did not start: {lines[-1] if lines else f'exit code {process.returncode}'}")
        with suppress(OSError), direct.open(f"{endpoint}/_ministack/health", timeout=1):
            return
        time.sleep(0.05)
    raise BadInput(f"the emulator did not answer at {endpoint} within {_STARTS_WITHIN_S:g} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: the emulator, and the function processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_ENDS_WITHIN_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C pressed again does not stop a clean-up, which takes seconds at most."""
    if threading.current_thread() is not threading.main_thread():  # where alone Python's signals arrive
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A process run to its end or to its time limit: output streamed through, its last lines kept, nothing left behind."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from inference.errors import RankFailed
from inference.resource_usage import peak_memory_mb

_TICK_S = 0.02
_CHUNK = 1 << 16
_LAST_LINES, _LINE_LENGTH = 20, 400
_SECRET = re.compile("SECRET|TOKEN|PASSWORD|API_KEY")
MARK = "COSMIC_SCRIPT_PROCESS"  # in the environment of a script and of all that it starts
_AT_DEATH = """
read group; read _; kill -s KILL -- "-$group"
for process in /proc/[0-9]*; do
    grep -qsF -- "$1" "$process/environ" && kill -s KILL "${process#/proc/}"
done
"""
_GONE_WITHIN_S = 2.0
_SHORT = 6  # characters; a shorter value would blot out words


def write_log(line: str) -> None:
    """Print a line to the log, whatever characters its encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "replace").decode(encoding), flush=True)  # noqa: T201 - a function's log is its output


class Output:
    """Standard output and error of a process, line by line to the log; a bounded end of it is kept.

    Args:
        pipe: the reading end, not blocking.
        secrets: texts that never reach the log.
    """

    def __init__(self, pipe: IO[bytes], secrets: Sequence[str] = ()) -> None:
        self._pipe = pipe
        self._secrets = secrets
        self._rest = b""
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    def take(self) -> bool:
        """Pass on what has been printed by now; False if that is nothing."""
        data = self._pipe.read(_CHUNK)
        if not data:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._pass_on(line)
        if len(self._rest) > _CHUNK:
            self._end_line()
        return True

    def finish(self) -> None:
        """Pass on what the process left in the pipe, and no more: a daemon of its own may still hold the other end."""
        for _ in range(32):
            if not self.take():
                break
        if self._rest:
            self._end_line()

    def tail(self) -> str:
        """The last lines, without what a progress bar drew over."""
        return "\n".join(self._last)

    def _end_line(self) -> None:
        line, self._rest = self._rest, b""
        self._pass_on(line)

    def _pass_on(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        write_log(text)
        if text.strip():
            self._last.append(text.rpartition("\r")[2][:_LINE_LENGTH])


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Values of an environment that are secret by their names, the longest first: one may be a part of another."""
    found = {value for name, value in environment.items() if _SECRET.search(name.upper()) and len(value) >= _SHORT}
    return sorted(found, key=len, reverse=True)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: exit code; minus the signal's number if one killed it.
        late: it outlasted its time limit and was killed.
        wall_s, cpu_s: seconds it took; CPU seconds with those of its children that it waited for.
        peak_rss_mb: the most resident memory that it or such a child had, MB of 1,000,000 bytes.
        tail: its last lines.
    """

    code: int
    late: bool
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    tail: str


def run_process(command: Sequence[str], folder: Path, environment: Mapping[str, str], limit_s: float) -> Ended:
    """Run a command in a process group of its own and wait for it.

    When it ends, when `limit_s` seconds are over, and when this process dies, whatever is left of the group is killed;
    on Linux also what has left the group, such as daemons, unless it dropped the environment that it was given.

    Args:
        command: program and arguments; no shell.
        folder: where it runs.
        environment: all that it gets; the secrets in it never reach the log.
        limit_s: seconds.

    Raises:
        RankFailed: it cannot be started.
    """
    started = time.perf_counter()
    late, high_water_mb = False, 0.0
    with guard() as (mark, watch):
        process = _start(
            command,
            cwd=folder,
            env={**environment, **mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        watch(process.pid)
        assert process.stdout is not None  # noqa: S101 - opened as a pipe
        os.set_blocking(process.stdout.fileno(), False)
        output = Output(process.stdout, secrets_of(environment))
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if not late and time.perf_counter() - started > limit_s:
                late = True
                _kill_group(process.pid)
            if not output.take():
                high_water_mb = _high_water_mb(process.pid) or high_water_mb
                time.sleep(_TICK_S)
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - started
    with process.stdout:
        output.finish()
    peak_mb = usage.ru_maxrss * 1024 / 1e6
    # Linux counts from the size of the process that started it, this one's, and counts that only roughly.
    if peak_mb <= 1.05 * peak_memory_mb():
        peak_mb = high_water_mb or peak_mb
    return Ended(
        code=process.returncode,
        late=late,
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_mb=peak_mb,
        tail=output.tail(),
    )


@contextmanager
def background(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[Callable[[], bool]]:
    """Run a command beside a script; it and all that it started are killed when the block is left or this process dies.

    Args:
        command: program and arguments; no shell.
        folder: where it runs.
        environment: all that it gets.
        log: its output.

    Yields:
        Whether it is still running.

    Raises:
        RankFailed: it cannot be started.
    """
    with log.open("wb") as output, guard() as (mark, watch):
        process = _start(
            command,
            cwd=folder,
            env={**environment, **mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        watch(process.pid)
        try:
            yield lambda: process.poll() is None
        finally:
            _kill_group(process.pid)
            process.wait()


def _high_water_mb(process: int) -> float:
    """What Linux knows of a process that is still there; 0 elsewhere."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


@contextmanager
def guard() -> Iterator[tuple[dict[str, str], Callable[[int], None]]]:
    """Kill the group that is handed over when the block is left, and when this process dies before that.

    The guard is a shell that waits on a pipe from this process: no other way reaches a whole group, and every Unix.

    Yields:
        What the group's processes shall have in their environment, by which those that left it are found; and the
        function that takes the number of the group's leader.

    Raises:
        RankFailed: there is no shell.
    """
    leaders: list[int] = []
    token = secrets.token_hex(16)
    mark = f"{MARK}={token}"
    command = ["/bin/sh", "-c", _AT_DEATH, "guard", mark]
    nowhere = subprocess.DEVNULL
    with _start(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere) as shell:

        def watch(leader: int) -> None:
            assert shell.stdin is not None  # noqa: S101 - opened as a pipe
            leaders.append(leader)
            shell.stdin.write(b"%d\n" % leader)

        try:
            yield {MARK: token}, watch
        finally:
            shell.kill()
            for leader in leaders:
                _kill_group(leader)
            _kill_marked(mark.encode())


def _start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, bufsize=0, start_new_session=True, **options)
    except OSError as error:
        raise RankFailed(f"the script cannot be started: {error.strerror}") from None


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _kill_marked(mark: bytes) -> None:
    until = time.monotonic() + _GONE_WITHIN_S
    while left := [process for process in Path("/proc").glob("[0-9]*") if _is_marked(process, mark)]:
        for process in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(process.name), signal.SIGKILL)
        if time.monotonic() > until:
            return
        time.sleep(_TICK_S)


def _is_marked(process: Path, mark: bytes) -> bool:
    try:
        return mark in (process / "environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or gone
        return False

"""The long proofs, file after file: `python -m tests.support.soak [--at-once N] [FILE ...]`.

Each file runs in a pytest of its own, two at once and the longest first. A file that fails or hangs ends nothing but
itself. What it printed lies in `.cosmic/soak/`, and a table of all files comes at the end.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
JOURNEYS = "tests/journeys"
# Started first, so that none of them runs alone at the end.
LONGEST = (
    "test_killed_commands",
    "test_kills",
    "test_input_readers",
    "test_killed_measurements",
    "test_deployments",
    "test_many_ranks",
)
SOAK = re.compile(r"^( *@|pytestmark = .*|.*marks=.*)pytest\.mark\.soak|^ *@given", re.MULTILINE)
LIMIT_S = 3600.0
FAREWELL_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of one file: pytest's exit code and last line, seconds on the clock and of the processor."""

    file: str
    code: int
    said: str
    wall_s: float
    cpu_s: float


def soak_files(root=ROOT):
    """Every file with a soak test or with random examples and every journey, the longest first."""
    found = [
        path
        for path in sorted((root / "tests").rglob("test_*.py"))
        if path.is_relative_to(root / JOURNEYS) or SOAK.search(path.read_text())
    ]
    found.sort(key=lambda path: LONGEST.index(path.stem) if path.stem in LONGEST else len(LONGEST))
    return [str(path.relative_to(root)) for path in found]


def run_file(file, logs, limit_s, root, stopped):
    """Run one file's long tests and random examples, or a whole journey, until it ends, is too slow or is stopped."""
    log = logs / f"{Path(file).stem}.log"
    marks = "soak or not soak" if file.startswith(JOURNEYS) else "soak or hypothesis"
    command = [sys.executable, "-m", "pytest", "-n", "0", "-ra", "-m", marks, f"--timeout={limit_s:g}", file]
    env = os.environ | {"COSMIC_EXAMPLES": "soak"}
    start = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=root, stdout=out, stderr=subprocess.STDOUT, process_group=0, env=env)
        asked = None
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            now = time.monotonic()
            if asked is None and (now - start > limit_s or stopped.is_set()):
                asked = now
                os.killpg(process.pid, signal.SIGINT)
            elif asked is not None and now - asked > FAREWELL_S:
                os.killpg(process.pid, signal.SIGKILL)
            stopped.wait(0.2) if asked is None else time.sleep(0.2)
    _, status, used = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(ProcessLookupError):  # what a test has left behind
        os.killpg(process.pid, signal.SIGKILL)
    lines = log.read_text(errors="replace").splitlines() or ["no output"]
    said = lines[-1].strip("= ") if asked is None else f"stopped after {asked - start:.0f} s"
    return Outcome(
        file, process.returncode if asked is None else 1, said, time.monotonic() - start, used.ru_utime + used.ru_stime
    )


def table(outcomes, wall_s):
    """All outcomes as lines of text, those that failed first."""
    width = max(len(outcome.file) for outcome in outcomes)
    lines = [f"{'file':<{width}}  {'min':>5}  {'CPU s':>6}  result"]
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.code == 0, outcome.file)):
        failed = "" if outcome.code == 0 else "FAILED: "
        lines.append(
            f"{outcome.file:<{width}}  {outcome.wall_s / 60:5.1f}  {outcome.cpu_s:6.0f}  {failed}{outcome.said}"
        )
    cpu_s, bad = sum(outcome.cpu_s for outcome in outcomes), sum(outcome.code != 0 for outcome in outcomes)
    lines.append(
        f"{'together':<{width}}  {wall_s / 60:5.1f}  {cpu_s:6.0f}  {len(outcomes) - bad} files passed, {bad} failed"
    )
    return lines


def soak(files, logs, at_once=2, limit_s=LIMIT_S, root=ROOT):
    """Run the files, print a line as each ends and the table at the end, and return the exit code."""
    logs.mkdir(parents=True, exist_ok=True)
    start, outcomes, stopped = time.monotonic(), [], threading.Event()
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(run_file, file, logs, limit_s, root, stopped) for file in files]
        try:
            for ended in as_completed(running):
                outcomes.append(outcome := ended.result())
                print(f"{len(outcomes)} of {len(files)}: {outcome.file}: {outcome.said}", flush=True)
                (logs / "table.txt").write_text("\n".join(table(outcomes, time.monotonic() - start)) + "\n")
        except KeyboardInterrupt:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            return 130
    print("\n" + (logs / "table.txt").read_text() + f"What each printed is in {logs}.")
    return int(any(outcome.code for outcome in outcomes))


def hear_signals():
    """Let what is started here hear what this process was started deaf to, as under `nohup` or in the background.

    A program inherits what is ignored, but not a handler, even one that does nothing.
    """
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, lambda *_: None)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.support.soak", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="test files (all that have long tests)")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="files that run at once (2)")
    parser.add_argument(
        "--logs", type=Path, default=ROOT / ".cosmic/soak", help="where their output goes (.cosmic/soak)"
    )
    options = parser.parse_args()
    hear_signals()
    return soak(options.files or soak_files(), options.logs, options.at_once)


if __name__ == "__main__":
    sys.exit(main())

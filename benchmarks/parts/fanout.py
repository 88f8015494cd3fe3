"""The fan-out over the Lambda executor, against an endpoint that answers after a given time.

1,000 ranks of one second all at once, in turn with a bare threaded client; and 10,000 ranks of one and of ten seconds,
1,000 at a time, against what they would take if nothing but the ranks took time. All in the clear and with TLS, with a
certificate of the benchmark's own. Endpoint and Prefect server (SQLite, started for this) run in processes of their own
on the same cores.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.ratio import Target, quartiles
from benchmarks.support import prefect_server, stub_lambda

AT_ONCE = 1_000
SMALL, SMALL_S, TURNS = 1_000, 1.0, 5
LARGE = 10_000
LARGE_GOALS = {1.0: 1.2, 10.0: 1.05}  # seconds of a rank: time over the ideal, at most
WITH_TLS = ", with TLS"
MOST_MEMORY_MB = 500


def _client(ranks: int, turns: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.parts.fanout_client", str(ranks), str(AT_ONCE), str(turns)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    for turn in document["turns"]["ours"]:
        assert turn["done"] == ranks, turn
        assert set(turn["task_runs"]) == {"Completed"}, turn
    return document


def _measured(
    seconds: float, ranks: int, turns: int, *, tls: bool = False
) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """What the client printed, the server's errors, what the endpoint served."""
    with (
        tempfile.TemporaryDirectory(prefix="cosmic-bench-") as home,
        prefect_server.running(Path(home)) as server,
        stub_lambda.serving(seconds, tls=tls) as stub,
    ):
        return _client(ranks, turns), server.errors(), stub.served()


def small(*, tls: bool) -> tuple[Target, list[dict[str, Any]]]:
    """1,000 ranks of one second, the fan-out and the bare client in turn; with TLS a handshake a connection more."""
    measured, errors, _ = _measured(SMALL_S, SMALL, TURNS, tls=tls)
    mine, bare = measured["turns"]["ours"], measured["turns"]["bare"]
    rows = [
        {"what": what, "ranks": SMALL, "rank_s": SMALL_S, "tls": tls}
        | {key: statistics.median(turn[key] for turn in turns) for key in ("s", "cpu_s")}
        for what, turns in (("fan-out", mine), ("bare threaded client", bare))
    ]
    target = Target(
        what=f"fan-out, {SMALL:,} ranks of {SMALL_S:g} s, {AT_ONCE:,} at once{WITH_TLS * tls}",
        **quartiles([ours["s"] / other["s"] for ours, other in zip(mine, bare, strict=True)]),
        to_reach=0.5,
        higher_is_better=False,
        ours=f"{rows[0]['s']:.2f} s ({rows[0]['cpu_s']:.2f} s of CPU)",
        other=f"{rows[1]['s']:.2f} s ({rows[1]['cpu_s']:.2f} s of CPU), a bare threaded boto3 client",
        floor=f"{SMALL_S:g} s, a rank's own time",
        note=f"{errors} errors of the Prefect server",
    )
    return target, rows


def large(rank_s: float, goal: float, *, tls: bool) -> tuple[list[Target], dict[str, Any]]:
    """10,000 ranks, once: time over the ideal, the client's memory, the server's errors."""
    measured, errors, served = _measured(rank_s, LARGE, 1, tls=tls)
    (mine,) = measured["turns"]["ours"]
    ideal, memory_mb = LARGE * rank_s / AT_ONCE, measured["peak_rss_mb"]
    what = f"fan-out, {LARGE:,} ranks of {rank_s:g} s, {AT_ONCE:,} at once{WITH_TLS * tls}"

    def target(what: str, ratio: float, to_reach: float, ours: str, other: str) -> Target:
        note = "one turn: its noise is not known"
        return Target(
            what=what,
            ratio=ratio,
            low=ratio,
            high=ratio,
            to_reach=to_reach,
            higher_is_better=False,
            ours=ours,
            other=other,
            note=note,
        )

    seconds = f"{mine['s']:.1f} s ({mine['cpu_s']:.1f} s of CPU), {served['calls']:,} invocations"
    targets = [
        target(what, mine["s"] / ideal, goal, seconds, f"{ideal:g} s, if only ranks took time"),
        target(
            f"{what}: memory",
            memory_mb / MOST_MEMORY_MB,
            1.0,
            f"{memory_mb:.0f} MB resident at most",
            f"{MOST_MEMORY_MB} MB",
        ),
        target(f"{what}: errors", float(errors), 0.0, f"{errors} of the Prefect server", "none"),
    ]
    row = {
        "what": "fan-out",
        "ranks": LARGE,
        "rank_s": rank_s,
        "tls": tls,
        "peak_rss_mb": memory_mb,
        "server_errors": errors,
    }
    return targets, row | {key: mine[key] for key in ("s", "cpu_s", "calls", "task_runs")}


def measure() -> dict[str, Any]:
    """The rows of the table: each load in the clear and with TLS."""
    targets, rows = [], []
    for tls in (False, True):
        target, found = small(tls=tls)
        targets.append(target)
        rows += found
        for rank_s, goal in LARGE_GOALS.items():
            others, row = large(rank_s, goal, tls=tls)
            targets += others
            rows.append(row)
    return {
        "what": f"ranks on an endpoint in a process of its own, {SMALL:,} of {SMALL_S:g} s and {LARGE:,} of"
        f" {' and '.join(f'{rank_s:g}' for rank_s in LARGE_GOALS)} s, in the clear and with TLS; seconds from the"
        " fan-out's start to its end, in a flow run that has begun, with a Prefect server on SQLite on the same cores;"
        f" medians of {TURNS} interleaved turns against a bare threaded client in the same process, and one turn of the"
        " large ones",
        "rows": rows,
        "targets": [asdict(target) for target in targets],
    }

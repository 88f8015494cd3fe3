"""Backups for late ranks: times of ranks replayed on the stub endpoint, with backups and without in turn.

A rank's first call takes the rank's own time, a backup one drawn from all of them. The times are of our own making
(most ranks within a third of the median, four in a hundred three and a half to four times as long), or those of
combined files named by COSMIC_PUBLISHED (paths joined by ":"), divided by COSMIC_SCALE (default 4).
"""

import json
import os
import random
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
SEEDS = int(os.environ.get("COSMIC_SEEDS", "3"))
RANKS, MEDIAN_S, SLOW = 400, 2.0, 0.04
TIME = "total_cpu_time (seconds)"
# Goals of makespan: for published files, and for ours.
GOALS, GOAL = {"combined_25MB": 0.78, "combined_50MB": 0.65}, 0.78
MORE_BILLED, MORE_BILLED_FOR_NOTHING = 1.10, 1.01


def synthetic(slow: float, seed: int = 0) -> list[float]:
    """Seconds of each rank, by rank: so large a share of them stragglers, at random places."""
    rng = random.Random(seed)  # noqa: S311 - draws times, keeps no secret
    late = round(slow * RANKS)
    times = [MEDIAN_S * min(max(rng.gauss(1.0, 0.08), 0.7), 1.35) for _ in range(RANKS - late)]
    times += [MEDIAN_S * rng.uniform(3.5, 4.0) for _ in range(late)]
    rng.shuffle(times)
    return times


def _published() -> dict[str, list[float]]:
    scale = float(os.environ.get("COSMIC_SCALE", "4"))
    paths = [Path(path) for path in os.environ.get("COSMIC_PUBLISHED", "").split(":") if path]
    return {path.stem: [record[TIME] / scale for record in json.loads(path.read_text())] for path in paths}


def _replay(times: list[float]) -> list[dict[str, Any]]:
    """A dictionary a seed, `plain` and `hedged`: makespan, seconds served, and seconds on our own bill."""
    command = [sys.executable, "-m", "benchmarks.parts.hedging_client", str(AT_ONCE), str(SEEDS)]
    ended = subprocess.run(command, input=json.dumps(times), stdout=subprocess.PIPE, text=True, check=True)
    turns: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return turns


def measure() -> dict[str, Any]:
    """Makespan and seconds served with hedging over those without, medians over the seeds."""
    published = _published()
    stragglers = published or {"our own times": synthetic(SLOW)}
    targets, rows = [], []
    with (
        tempfile.TemporaryDirectory(prefix="cosmic-bench-") as home,
        prefect_server.running(Path(home)),
        stub_lambda.serving(0.0),
    ):
        for name, times in {**stragglers, "no stragglers": synthetic(0.0)}.items():
            turns = _replay(times)
            rows += [{"times": name, "ranks": len(times), "way": way} | turn[way] for turn in turns for way in turn]
            limits = {"makespan_s": next((goal for file, goal in GOALS.items() if name.startswith(file)), GOAL)}
            limits["served_s"] = MORE_BILLED
            if name == "no stragglers":
                limits = {"served_s": MORE_BILLED_FOR_NOTHING}
            for what, goal in limits.items():
                mine, other = (statistics.median(turn[way][what] for turn in turns) for way in ("hedged", "plain"))
                said = "makespan" if what == "makespan_s" else "seconds served, losers in full"
                targets.append(
                    Target(
                        what=f"backups, {name}: {said}",
                        **quartiles([turn["hedged"][what] / turn["plain"][what] for turn in turns]),
                        to_reach=goal,
                        higher_is_better=False,
                        ours=f"{mine:,.1f} s with backups ({turns[0]['hedged']['backups']} in the first turn)",
                        other=f"{other:,.1f} s without",
                        floor="",
                        note="",
                    )
                )
    return {
        "what": f"ranks' times replayed on an endpoint in a process of its own, {AT_ONCE:,} at once, through the flow's"
        f" fan-out and the Lambda executor; a backup's time is drawn from the same times; {SEEDS} seeds, with backups"
        " and without in turn; seconds served are counted by the endpoint, calls that nobody waited for in full",
        "rows": rows,
        "targets": [asdict(target) for target in targets],
    }

"""What `cosmic plan --score`, `--deadline` and `--budget` print."""

import argparse
import json
import re
from typing import TYPE_CHECKING

from rich.table import Table

from flows.cli.terminal import print_json, say, show_table
from inference.errors import BadInput

if TYPE_CHECKING:
    from inference.contract.run_request import RunRequest

_TIME = re.compile(
    r"(?P<alone>\d+(?:\.\d+)?)|"  # seconds; after hours or minutes they need their unit, for 1h30 might be either
    r"(?:(?P<h>\d+(?:\.\d+)?)\s*h)?\s*(?:(?P<min>\d+(?:\.\d+)?)\s*min|(?P<m>\d+)m)?\s*(?:(?P<s>\d+(?:\.\d+)?)\s*s)?"
)
_SECONDS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0, "alone": 1.0}
_SUM = re.compile(r"\$?\s*(\d+(?:\.\d*)?(?:e[-+]?\d+)?)\s*(?:USD|\$)?", re.IGNORECASE)
_SHOWN = 12  # configurations of the front in the terminal


def seconds_of(text: str) -> float:
    """Seconds of a time as people write it.

    >>> seconds_of("60s"), seconds_of("1.5 min"), seconds_of("90"), seconds_of("1h30m")
    (60.0, 90.0, 90.0, 5400.0)

    Raises:
        BadInput: it is no time.
    """
    found = _TIME.fullmatch(text.strip())
    seconds = sum(_SECONDS[unit] * float(value) for unit, value in found.groupdict().items() if value) if found else 0.0
    if not 0 < seconds < 1e9:
        raise BadInput(f"--deadline is a time above 0, written as 60s, 5min, 2h or 1h30m, not {text!r:.40}")
    return seconds


def usd_of(text: str) -> float:
    """A sum of USD as people write it.

    >>> usd_of("5"), usd_of("$5"), usd_of("0.10 USD")
    (5.0, 5.0, 0.1)

    Raises:
        BadInput: it is no sum.
    """
    found = _SUM.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) < 1e12:
        raise BadInput(f"--budget must be a sum of USD above 0, written as 5, 0.10 or '5 USD', not {text!r:.40}")
    return float(found[1])


def show_best(request: "RunRequest", args: argparse.Namespace) -> int:
    """Print the best configuration and the front of time against cost; write the request and the plot if asked."""
    from inference.storage.atomic_write import atomic_write
    from tasks.planning.best import all_choices, best_of
    from tasks.reporting.formatting import DASH, usd

    deadline = None if args.deadline is None else seconds_of(args.deadline)
    budget = None if args.budget is None else usd_of(args.budget)
    if args.out is not None and args.data is not None and request.partition is None:
        raise BadInput("--out needs partition in the request: --data alone does not say what partitions are made from")
    choices, notes = all_choices(request, args.store, args.executor, args.data)
    best = best_of(choices, deadline, budget, request.max_cost)
    changed = best.request(request)
    if args.out is not None:
        with atomic_write(args.out) as partial:
            partial.write_text(json.dumps(changed, indent=2) + "\n")
    if args.plot is not None:
        from tasks.planning.best_plot import plot

        with atomic_write(args.plot) as partial:
            partial.write_bytes(plot(choices, best))
    front = [each for each in choices if each.front]
    if args.json:
        rows = {"best": best.to_dict(), "request": changed, "front": [each.to_dict() for each in front]}
        print_json(rows | {"tried": len(choices), "notes": notes})
        return 0
    table = Table(title=f"best of {len(choices):,} configurations, and the front")
    for name in ("", "executor", "partition", "MB", "at once", "precision", "backups", "ranks"):
        table.add_column(name)
    for name in ("end to end", "P90", "bill", "P90"):
        table.add_column(name, justify="right")
    chosen = [best, *[each for each in front if each != best][:_SHOWN]]
    for each in sorted(chosen, key=lambda each: each.s):
        where = (each.executor, each.partition or DASH, f"{each.memory_mb:,}", f"{each.at_once:,}", each.precision)
        figures = (f"{each.s:,.1f} s", f"{each.s_p90:,.1f} s", usd(each.usd), usd(each.usd_p90))
        backups = "yes" if each.backups else "no"
        table.add_row("best" if each == best else "", *where, backups, f"{each.ranks:,}", *figures)
    show_table(table, drop=("backups", "ranks", "precision", "partition"))
    for note in notes:
        say(f"note: {note}", "dim")
    if args.out is not None:
        say(f"written: {args.out}; run it with --executor {best.executor}")
        if best.executor in {"lambda", "step-functions"}:
            say(f"The function needs {best.memory_mb:,} MB: `cosmic deploy --memory {best.memory_mb}`.")
    return 0


def show_score(where: str, store_root: str, *, as_json: bool) -> int:
    """Print how good the predictions of all runs under a bucket were."""
    from inference.contract.counted import counted
    from inference.contract.object_keys import checked_bucket, checked_prefix
    from inference.storage.store import Store
    from tasks.planning.history import past_runs
    from tasks.planning.scoring import outcomes, scores
    from tasks.reporting.formatting import DASH
    from tasks.run_results.expected import FIGURES

    bucket, _, folder = where.partition("/")
    bucket, folder = checked_bucket(bucket, "--score"), checked_prefix(folder, "--score")
    runs, notes = past_runs(Store(store_root), bucket, under=folder)
    found = scores(outcomes(runs))
    if as_json:
        print_json({"runs": len(runs), "scores": [each.to_dict() for each in found], "notes": notes})
        return 0
    if not found:
        raise BadInput(f"--score: no run under {where} was predicted, and none has runs of its kind before it")
    table = Table(title=f"{counted(len(runs), 'run')} under {where}")
    table.add_column("expected")
    table.add_column("executor")
    for name in ("runs", "replayed", "median error", "bias", "in 90 % interval", "drift"):
        table.add_column(name, justify="right")
    for each in found:
        drift = DASH if each.drift is None else f"{each.drift:+.1%}"
        shares = (f"{each.median_error:.1%}", f"{each.bias:+.1%}", f"{each.coverage:.0%}", drift)
        table.add_row(FIGURES[each.figure], each.executor, str(each.runs), str(each.replayed), *shares)
    show_table(table, drop=("drift", "replayed"))
    say(
        "An error is expected over actual, less 1. Drift is the bias of the newer half less that of the older."
        " A replayed prediction is made now, from the runs before its run only. Runs that did not run all their ranks"
        " are left out.",
        "dim",
    )
    for note in notes:
        say(f"note: {note}", "dim")
    return 0

"""`make bench`: run the parts named, or all, write what they measured under benchmarks/results/, and print one table.

A part is a module of this folder with `measure()`, run in a process of its own: it gives `what` it measured and how,
`rows`, and `targets`, the ratios of the table (`benchmarks.ratio.Target` as dicts).
"""

import dataclasses
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.committed import alike, file_of
from benchmarks.committed import committed as result_of
from benchmarks.ratio import NotHere, Target, worse
from benchmarks.support.quiet_machine import alone, measured
from tasks.reporting.terminal_table import print_table
from tasks.sweeps.machine import describe_machine, machine_line

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def parts() -> list[str]:
    """Names of the parts that there are; none is imported."""
    return sorted(path.stem for path in (HERE / "parts").glob("*.py") if "\ndef measure()" in path.read_text())


def committed(name: str) -> dict[str, Any]:
    """The part's result on a machine of this one's class, as it was committed last; {} if there is none."""
    return result_of(file_of(RESULTS, name, describe_machine()))


def targets_of(document: dict[str, Any]) -> list[Target]:
    """The ratios of a part's result; a committed one may be of an older form, and then has none."""
    names = {field.name for field in dataclasses.fields(Target)}
    return [Target(**found) for found in document.get("targets", []) if set(found) <= names]


def _show(found: list[Target]) -> None:
    table = Table(title="make bench")
    for name in ("what", "ours", "other"):
        table.add_column(name, overflow="fold")
    table.add_column("ratio, quartiles", justify="right")
    table.add_column("to reach", justify="right")
    table.add_column("reached")
    table.add_column("floor", overflow="fold")
    for row in found:
        ratio = f"{row.ratio:.3g} ({row.low:.3g} to {row.high:.3g})"
        goal = f"{'>=' if row.higher_is_better else '<='} {row.to_reach:g}"
        reached = "yes" if row.reached else f"NO: {row.note}" if row.note else "NO"
        table.add_row(row.what, row.ours, row.other, ratio, goal, reached, row.floor)
    print_table(Console(width=None if sys.stdout.isatty() else 200), table, drop=("floor", "other"))


def main() -> int:
    """Measure; 0 also where a goal is missed or a ratio is worse than before, which is said; 1 if a part failed."""
    there = parts()
    wanted = sys.argv[1:] or there
    for name in wanted:
        if name not in there:
            print(f"there is no benchmark {name!r}; there are: {', '.join(there)}", file=sys.stderr)
            return 2
    found: list[Target] = []
    messages: list[str] = []
    failed = False
    for name in wanted:
        before, began = committed(name), time.monotonic()
        try:
            found_out = alone(measured, name)
        except NotHere as error:
            messages.append(f"{name}: not measured here: {error}")
            continue
        except Exception as error:  # noqa: BLE001 - a part that fails takes no other with it, and is said
            messages.append(f"{name}: FAILED: {type(error).__name__}: {error}")
            failed = True
            continue
        machine = describe_machine()
        document = {"benchmark": name, "date": datetime.now(UTC).date().isoformat(), "machine": machine, **found_out}
        file = file_of(RESULTS, name, machine)
        file.write_text(json.dumps(document, indent=2) + "\n")
        print(f"written: benchmarks/results/{file.name} ({time.monotonic() - began:.0f} s)")
        targets = targets_of(document)
        found += targets
        if not alike(before, machine) or (not before and file.name != f"{name}.json"):
            messages.append(f"{name}: not compared: the committed result is of another class of machine")
            continue
        messages += worse(targets_of(before), targets)
        if before and before.get("machine") != machine:
            messages.append(f"{name}: the committed result is of another machine of this class, or of other versions")
    if found:
        _show(found)
    print(f"machine: {machine_line(describe_machine())}")
    for line in messages:
        print(line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

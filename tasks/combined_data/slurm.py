"""Runs of the replaced system on a SLURM cluster: `job_<n>.json` of each task, and the wall time from `sacct`.

A task writes a list, one entry a file that it read: `{"file_index": 7, "stats": {...}}`. It is one rank here; its time
is the sum over its files, wall time of their inference loops.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from inference.contract.json_text import parse_json
from inference.contract.validation import checked_int, shorten
from inference.errors import BadInput
from tasks.combined_data.one_machine import read_stats
from tasks.combined_data.records import Planned, Record

JOB = re.compile(r"job_([0-9]{1,7})\.json")
ACCOUNTING = "sacct.txt"
_COLUMNS = ("JobID", "Start", "End", "State")
_HOW = "sacct -p --format=JobID,Start,End,State -j ID"
_NEVER = ("", "Unknown", "None")


@dataclass(frozen=True)
class Accounting:
    """What `sacct` knows of a run.

    Attributes:
        wall_s: seconds from the first task's start to the last one's end.
        unfinished: of the tasks that did not end COMPLETED, how many by state.
        tasks: how many there were.
    """

    wall_s: float
    unfinished: Mapping[str, int]
    tasks: int

    @property
    def shortfalls(self) -> list[str]:
        """What went wrong, a sentence; none where every task was completed."""
        if not self.unfinished:
            return []
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.unfinished.items()))
        return [f"{sum(self.unfinished.values())} of {self.tasks} SLURM tasks were not completed: {states}"]


def read_job(data: bytes, where: str, result_path: str) -> list[Record]:
    """The record of a task; none where it had no file to read.

    Args:
        data: content of its `job_<n>.json`.
        where: its name, for messages.
        result_path: folder of the run.

    Raises:
        BadInput: naming the file, the entry and the key that is missing or wrong.
    """
    found = JOB.fullmatch(where.rpartition("/")[2])
    document = parse_json(data, where)
    if not isinstance(document, list):
        raise BadInput(f"{where} is no result of a SLURM task: it must be a list, of one entry for each file")
    parts = []
    for place, entry in enumerate(document, 1):
        which = f"{where}: entry {place}"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("stats"), Mapping):
            raise BadInput(f"{which} has no stats")
        file = checked_int(entry.get("file_index"), f"{which}: file_index", 0, 10**7)
        parts.append((f"{file}.pt", read_stats(entry["stats"], which)))
    if not parts:
        return []
    return [
        Record(
            rank=int(found[1]) if found else None,
            data_paths=tuple(path for path, _ in parts),
            result_path=result_path,
            batch_size=parts[0][1].batch_size,
            samples=sum(stats.samples for _, stats in parts),
            bits=sum(stats.bits for _, stats in parts),
            seconds=sum(stats.seconds for _, stats in parts),
            started_at=None,
            ended_at=None,
        )
    ]


def planned_tasks(numbers: Sequence[int], idle: int) -> Planned:
    """How many tasks a run had by the numbers of its files, which begin at 0 (srun) or 1 (an array).

    Args:
        numbers: of the files there are.
        idle: how many of them had nothing to do.
    """
    count = max(numbers) - min(min(numbers), 1) + 1
    return Planned(count - idle, f"job_{max(numbers)}.json is the last", estimate=True)


def read_accounting(data: bytes, where: str) -> Accounting:
    """What `sacct -p` printed of a job, with its line of headings or without.

    Steps of a task (`123_4.batch`) are within it and do not count.

    Raises:
        BadInput: naming the file and the line: it is not of that form, or no task began and ended.
    """
    rows = [line.split("|") for line in data.decode(errors="replace").splitlines() if line.strip()]
    heading = next((row for row in rows[:1] if "JobID" in row), None)
    columns = heading or list(_COLUMNS)
    lacking = [name for name in _COLUMNS if name not in columns]
    if lacking:
        raise BadInput(f"{where} lacks the column {lacking[0]}: write it with `{_HOW}`")
    spans: list[tuple[datetime, datetime]] = []
    states: Counter[str] = Counter()
    for number, row in enumerate(rows[1:] if heading else rows, 2 if heading else 1):
        if len(row) < len(_COLUMNS):
            raise BadInput(f"{where}, line {number} is no line of sacct's: write it with `{_HOW}`")
        cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
        if "." in cells["JobID"]:
            continue
        states[cells["State"].split(" ")[0]] += 1  # "CANCELLED by 1000"
        if cells["Start"] in _NEVER or cells["End"] in _NEVER:
            continue
        try:
            spans.append((datetime.fromisoformat(cells["Start"]), datetime.fromisoformat(cells["End"])))
        except ValueError:
            times = shorten(f"{cells['Start']} {cells['End']}", 60)
            raise BadInput(f"{where}, line {number} has a wrong time: {times}") from None
    if not spans:
        raise BadInput(f"{where} names no task that began and ended: write it with `{_HOW}` when the job is over")
    wall = max(end for _, end in spans) - min(start for start, _ in spans)
    unfinished = {state: count for state, count in states.items() if state != "COMPLETED"}
    return Accounting(wall.total_seconds(), unfinished, states.total())

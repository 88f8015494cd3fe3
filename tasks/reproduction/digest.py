"""A digest of the replaced system's published files: what the page sets beside the printed tables.

`python -m tasks.reproduction.digest FOLDER` makes `published.json` anew from the files themselves, which are large.
"""

import csv
import json
import re
import statistics
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from inference.contract.json_text import parse_json
from inference.storage.atomic_write import atomic_write
from tasks.combined_data.records import read_records
from tasks.sweeps.statistics import without_outliers

PLACE = Path(str(files("tasks.reproduction") / "published.json"))
SOURCE = (
    "Result files that UVA-MLSys/AI-for-Astronomy published with its runs of 12.6 GB of SDSS cut-outs on AWS Lambda"
    " behind Step Functions (arXiv:2501.06249), and the figures printed in the class report on them"
)
_NAME = re.compile(r"combined_(\d+)MB_([\d.]+)GB_run\d+\.json")
_REPORT = re.compile(r"(?<!Billed )Duration: ([\d.]+) ms\s+Billed Duration: (\d+) ms.*?Max Memory Used: (\d+) MB")
_INIT = re.compile(r"Init Duration: ([\d.]+) ms")


def published() -> dict[str, Any]:
    """The digest that comes with the package."""
    return dict(parse_json(PLACE.read_bytes(), PLACE.name))


def digest_of(folder: Path) -> dict[str, Any]:
    """The digest of the published files.

    Args:
        folder: with `seed_tables.json`, `combined_*MB_*GB_run*.json`, `map_phase_means.csv`,
            `total_execution_time.csv` and `cloudwatch_log_lines.txt`.

    Raises:
        BadInput: a file is damaged.
        OSError: a file is not there.
    """
    printed = dict(parse_json((folder / "seed_tables.json").read_bytes(), "seed_tables.json"))
    printed.pop("what")
    return {
        "source": SOURCE,
        "printed": printed,
        "runs": [_run(path, match) for path in sorted(folder.iterdir()) if (match := _NAME.fullmatch(path.name))],
        "map_phase": [
            {key: float(value) for key, value in row.items()} for row in _rows(folder / "map_phase_means.csv")
        ],
        "end_to_end": _end_to_end(_rows(folder / "total_execution_time.csv")),
        "invocations": _invocations((folder / "cloudwatch_log_lines.txt").read_text()),
    }


def _run(path: Path, name: re.Match[str]) -> dict[str, Any]:
    data = path.read_bytes()
    records = read_records(data, path.name)
    wires: list[dict[str, Any]] = parse_json(data, path.name)
    return {
        "file": path.name,
        "partition_mb": int(name[1]),
        "data_gb": float(name[2]),
        "records": len(records),
        "samples": sum(record.samples for record in records),
        "bits": sum(record.bits for record in records),
        "batch_size": records[0].batch_size,
        "batch_s": _mean(record.seconds * record.batch_size / record.samples for record in records),
        "seconds": sum(record.seconds for record in records),
        "rank_s": _mean(record.seconds for record in records),
        "sum_of_rates_bps": sum(record.bits / record.seconds for record in records),
        "profiled_memory_mb": statistics.fmean(float(wire["total_cpu_memory (MB)"]) for wire in wires),
    }


def _mean(values: Iterable[float]) -> float:
    """Without outliers, as docs/published.md has it."""
    return float(without_outliers(list(values)).mean())


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def _end_to_end(rows: Iterable[dict[str, str]]) -> list[dict[str, Any]]:
    """The runs written down by hand, `minutes:seconds`, those of the same sizes together."""
    found: dict[tuple[int, float], dict[str, Any]] = {}
    for row in rows:
        size = int(row["partition(MB)"]), float(row["data(GB)"])
        each = {"partition_mb": size[0], "data_gb": size[1], "ranks": int(float(row["num_worlds"])), "seconds": []}
        minutes, seconds = row["duration"].split(":")
        found.setdefault(size, each)["seconds"].append(60 * int(minutes) + float(seconds))
    return list(found.values())


def _invocations(text: str) -> dict[str, Any]:
    reports = [tuple(map(float, match)) for match in _REPORT.findall(text)]
    return {
        "file": "cloudwatch_log_lines.txt",
        "reports": len(reports),
        "duration_s": statistics.fmean(report[0] for report in reports) / 1e3,
        "billed_s": statistics.fmean(report[1] for report in reports) / 1e3,
        "max_memory_mb": max(report[2] for report in reports),
        "init_s": [float(value) / 1e3 for value in _INIT.findall(text)],
    }


def main() -> int:
    """Make the digest anew."""
    document = digest_of(Path(sys.argv[1]))
    with atomic_write(PLACE) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs of the replaced system on one machine: `total.json`, its figures at every gigabyte since the start.

Its statistics are those of its SLURM tasks too: the same keys, and the rate a list of one number, by a stray comma.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.contract.json_text import parse_json
from inference.contract.validation import checked_int, shorten
from inference.errors import BadInput
from tasks.combined_data.records import BITS_RATE, RATE, Record, positive
from tasks.reporting.formatting import number
from tasks.reporting.table import Column, Table

TOTAL = "total.json"
PROCESSED, SECONDS = "GB_processed", "total_execution_time (seconds)"


@dataclass(frozen=True)
class Stats:
    """What the script measured: wall seconds of its loop, galaxies, bits of model input, samples a batch."""

    seconds: float
    samples: int
    bits: float
    batch_size: int


@dataclass(frozen=True)
class Growth:
    """A run that read the same data again and again.

    Attributes:
        gigabytes: how many it had read at each note.
        stats: since the start, at each note.
    """

    gigabytes: tuple[int, ...]
    stats: tuple[Stats, ...]

    def record(self, result_path: str, device: str) -> Record:
        """The whole run as the record of its one rank."""
        last = self.stats[-1]
        return Record(
            rank=None,
            data_paths=(f"{self.gigabytes[-1]} GB on {device}",),
            result_path=result_path,
            batch_size=last.batch_size,
            samples=last.samples,
            bits=last.bits,
            seconds=last.seconds,
            started_at=None,
            ended_at=None,
        )

    def table(self) -> Table:
        """One row a note, with what the gigabytes since the last one took."""
        rows = []
        before = Stats(0.0, 0, 0.0, 0)
        for gigabytes, stats in zip(self.gigabytes, self.stats, strict=True):
            seconds, samples = stats.seconds - before.seconds, stats.samples - before.samples
            rows.append(
                {
                    "gigabytes": gigabytes,
                    "total_s": stats.seconds,
                    "seconds": seconds,
                    "samples_per_s": samples / seconds,
                    "mbps": (stats.bits - before.bits) / seconds / 1e6,
                }
            )
            before = stats
        columns = [
            Column("gigabytes", "Data GB"),
            Column("total_s", "Since the start s", number),
            Column("seconds", "Since the row above s", number),
            Column("samples_per_s", "Samples/s", number),
            Column("mbps", "Mbit/s", number),
        ]
        return Table("growth", "By gigabyte", columns, rows, "Rates are of the gigabytes since the row above.")


def read_stats(wire: Mapping[str, Any], where: str) -> Stats:
    """Check the statistics of a file, or of a run up to a gigabyte.

    Raises:
        BadInput: naming the entry and the key that is missing or wrong.
    """
    seconds = _positive(wire, SECONDS, where)
    return Stats(
        seconds=seconds,
        samples=max(round(_positive(wire, RATE, where) * seconds), 1),
        bits=_positive(wire, BITS_RATE, where) * seconds,
        batch_size=checked_int(wire.get("batch_size"), f"{where}: batch_size", 1, 10**9),
    )


def read_total(data: bytes, where: str, result_path: str) -> tuple[Growth, Record]:
    """Read a `total.json`.

    Raises:
        BadInput: naming the file, the entry and the key: it is no list of figures that grow with the gigabytes.
    """
    document = parse_json(data, where)
    if not isinstance(document, list) or not document:
        raise BadInput(f"{where} is no {TOTAL} of the one-machine script: it must be a list, of one entry a gigabyte")
    return read_growth(document, where, result_path)


def read_growth(entries: Sequence[object], where: str, result_path: str) -> tuple[Growth, Record]:
    """The same from the entries, as each `<gigabytes>.json` has one.

    Raises:
        BadInput: as `read_total`.
    """
    gigabytes, stats = [], []
    for place, wire in enumerate(entries, 1):
        which = f"{where}: entry {place}"
        if not isinstance(wire, Mapping):
            raise BadInput(f"{which} is no object")
        gigabytes.append(checked_int(wire.get(PROCESSED), f"{which}: {PROCESSED}", 1, 10**9))
        stats.append(read_stats(wire, which))
        if place > 1 and not (gigabytes[-2] < gigabytes[-1] and stats[-2].seconds < stats[-1].seconds):
            raise BadInput(f"{which}: {PROCESSED} and {SECONDS!r} must grow from entry to entry")
    growth = Growth(tuple(gigabytes), tuple(stats))
    last = entries[-1]
    device = str(last.get("device", "one machine")) if isinstance(last, Mapping) else ""
    return growth, growth.record(result_path, shorten(device, 40).strip("'"))


def _positive(wire: Mapping[str, Any], key: str, where: str) -> float:
    value = wire.get(key)
    return positive({key: value[0]} if isinstance(value, list) and len(value) == 1 else wire, key, where)

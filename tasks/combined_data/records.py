"""Rank records of any run, ours or the replaced system's: read, checked, and held against what was planned."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from inference.contract.counted import counted, listed
from inference.contract.json_text import parse_json
from inference.contract.sample import BITS_PER_SAMPLE
from inference.contract.validation import checked_int, is_number, shorten
from inference.errors import BadInput
from tasks.combined_data.round_robin import is_round_robin

SECONDS, RATE, BITS_RATE = "total_cpu_time (seconds)", "sample_persec", "throughput_bps"  # contract, "Rank result"
LISTING_ENDS = 1000  # an S3 listing's page, at which the replaced system stopped (contract, fault 1)
_NAMED_PLAN = re.compile(r"(?:filelimit|worldsize)-([0-9]{1,7})(?=[_/]|$)")
_NAMED_SIZE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(MB|GB|TB)", re.IGNORECASE)
_ROUNDED_UP, _ROUNDED_DOWN = 0.05, 0.10  # 96 GB are called 100 GB, and 12.6 GB 12 GB
_NUMBER_OF_RUN = re.compile(r"(/|(?:^|[/ _-])run[ _-]*)[0-9]+/*$", re.IGNORECASE)
_MB = {"MB": 1, "GB": 1024, "TB": 1024 * 1024}


@dataclass(frozen=True)
class Record:
    """What one rank wrote down.

    Attributes:
        rank: its number; None in the replaced system's records, which carry none.
        data_paths: the partitions that it read.
        result_path: of its run.
        batch_size: samples a batch.
        samples: galaxies predicted.
        bits: of model input, by the record's own rate.
        seconds: of the inference loop, wall time; of a script under our dispatch, of its process. In the replaced
            system's own records a profiler's sum over operators (contract, fault 8).
        started_at, ended_at: of the rank since the epoch; None in the replaced system's records.
    """

    rank: int | None
    data_paths: tuple[str, ...]
    result_path: str
    batch_size: int
    samples: int
    bits: float
    seconds: float
    started_at: float | None
    ended_at: float | None


@dataclass(frozen=True)
class Planned:
    """What a run should have come to.

    Attributes:
        ranks: how many.
        how: where that is known from.
        data_paths: the partitions of each rank, where a plan names them.
        estimate: it is reckoned from names, not read from a plan.
    """

    ranks: int
    how: str
    data_paths: tuple[tuple[str, ...], ...] = ()
    estimate: bool = False


def read_records(data: bytes, where: str) -> list[Record]:
    """Read a combined_data.json; a rank whose script wrote a list counts record by record.

    Raises:
        BadInput: naming the file, the record and the key: it is no list of records, or one is malformed.
    """
    document = parse_json(data, where)
    if not isinstance(document, list):
        raise BadInput(f"{where} is no combined_data.json: it must be a list of rank records")
    return [
        read_record(each, f"{where}: record {place}")
        for place, wire in enumerate(document, 1)
        for each in (wire if isinstance(wire, list) else [wire])
    ]


def read_record(wire: object, where: str) -> Record:
    """Check one rank's record, of whichever system.

    Raises:
        BadInput: naming the record and the key that is missing or wrong.
    """
    if not isinstance(wire, Mapping):
        raise BadInput(f"{where} is no object")
    paths = wire.get("data_path")
    listed = [paths] if isinstance(paths, str) else paths
    if not isinstance(listed, list) or not listed or not all(isinstance(path, str) and path for path in listed):
        raise BadInput(f"{where} has a wrong data_path: {shorten(paths)}")
    where = f"{where} ({shorten(listed[0], 80)[1:-1]})"
    result_path = wire.get("result_path")
    if not isinstance(result_path, str):
        raise BadInput(f"{where} has a wrong result_path: {shorten(result_path)}")
    # A script's record under our stamp has its own time beside ours, or none.
    seconds_used = positive(wire, SECONDS if SECONDS in wire else "wall_loop_s", where)
    if "samples" in wire:
        samples = checked_int(wire["samples"], f"{where}: samples", 1, 10**12)
    else:
        samples = round(positive(wire, RATE, where) * seconds_used)
    bits = positive(wire, BITS_RATE, where) * seconds_used if BITS_RATE in wire else float(samples * BITS_PER_SAMPLE)
    rank = wire.get("rank")
    ours = rank is not None
    started_at = positive(wire, "started_at", where) if ours else None
    ended_at = positive(wire, "ended_at", where) if ours else None
    seconds = positive(wire, "wall_loop_s", where) if "wall_loop_s" in wire else seconds_used
    if started_at and ended_at and ended_at > started_at:  # older versions kept a script's profiled time as its loop's
        seconds = min(seconds, ended_at - started_at)
    return Record(
        rank=checked_int(rank, f"{where}: rank", 0, 10**7) if ours else None,
        data_paths=tuple(listed),
        result_path=result_path,
        batch_size=checked_int(wire.get("batch_size"), f"{where}: batch_size", 1, 10**9),
        samples=samples,
        bits=bits,
        seconds=seconds,
        started_at=started_at,
        ended_at=ended_at,
    )


def read_plan(data: bytes, where: str) -> Planned:
    """What a payload.json planned, ours or the replaced system's: its `data_map`, {rank: partitions}.

    Raises:
        BadInput: naming the file: it has no sound data_map.
    """
    try:
        mapping = parse_json(data, where)["data_map"]
        ranks = tuple((paths,) if isinstance(paths, str) else tuple(paths or ()) for paths in mapping.values())
    except (TypeError, KeyError, AttributeError):
        raise BadInput(f"{where} is no plan: it has no data_map of ranks and partitions") from None
    busy = tuple(paths for paths in ranks if paths)  # an older version left ranks without a file idle
    if not busy or not all(isinstance(path, str) for paths in busy for path in paths):
        raise BadInput(f"{where} is no plan: its data_map assigns no partitions")
    return Planned(len(busy), where, busy)


def plan_by_name(records: Sequence[Record]) -> Planned | None:
    """How many ranks a run must have had by the names in use; None where they do not say.

    `results/filelimit-10_batchsize-128_prefix-50MB` planned 10; `result-partition-100MB/1TB/1`, reading partitions
    below `100MB/`, one for every 100 MB of 1 TB (contract, "Run request"). People round such sizes: where the number is
    near and the records' own files are those of all ranks, their number counts.
    """
    if not records:
        return None
    path = records[0].result_path
    named = _NAMED_PLAN.findall(path)
    if named:
        return Planned(int(named[-1]), f"the result path {path}", estimate=True)
    sizes = [match for part in path.split("/") if (match := _NAMED_SIZE.fullmatch(part))]
    partition = _NAMED_SIZE.match(records[0].data_paths[0].split("/")[0])
    if not sizes or partition is None or not _megabytes(partition):
        return None
    ranks = math.ceil(_megabytes(sizes[-1]) / _megabytes(partition))
    how = f"{sizes[-1][0]} in partitions of {partition[0]}, as {path} says"
    reused = len({record.data_paths for record in records}) < len(records)  # else the last ranks may be missing
    fewest = (1 - _ROUNDED_UP) * ranks if reused else ranks
    if fewest <= len(records) <= (1 + _ROUNDED_DOWN) * ranks and is_round_robin(
        [record.data_paths[0] for record in records]
    ):
        return Planned(len(records), f"files without a gap, round robin; {how}, about {ranks:,}", estimate=True)
    return Planned(ranks, how, estimate=True)


def shortfalls(records: Sequence[Record], planned: Planned | None) -> list[str]:
    """What is missing of a run, or too much, a sentence each; a run that is whole has none.

    Files that several ranks read are no duplicates (contract, "Rank assignment"), but a rank's number must not recur.
    """
    warnings = []
    ranks = Counter(record.rank for record in records if record.rank is not None)
    twice = sorted(rank for rank, count in ranks.items() if count > 1)
    if twice:
        warnings.append(f"rank {twice[0]} is there {ranks[twice[0]]} times ({len(twice)} such ranks)")
    if planned is not None:
        warnings += _against(records, planned)
    if len(records) == LISTING_ENDS and (planned is None or planned.estimate) and not ranks:
        warnings.append(
            "exactly 1,000 records: that is where the replaced system's unpaginated listing stopped (contract, fault 1)"
        )
    paths = {record.result_path for record in records}
    if len(paths) > 1:
        warnings.append(f"records of {len(paths)} runs are mixed: {', '.join(sorted(paths)[:3])}")
    return warnings


def _against(records: Sequence[Record], planned: Planned) -> list[str]:
    count = len(records)
    about = "about " if planned.estimate and not planned.how.startswith("the result path") else ""
    warnings = []
    if count != planned.ranks:
        less = "fewer" if count < planned.ranks else "more"
        warnings.append(
            f"{counted(count, 'record is', 'records are')} {less} than the {about}{planned.ranks:,} planned"
            f" ({planned.how})"
        )
    if planned.data_paths:
        wanted = Counter(planned.data_paths)
        found = Counter(record.data_paths for record in records)
        warnings += _named("lack", wanted - found) + _named("are not in the plan but read", found - wanted)
    return warnings


def _named(verb: str, paths: Counter[tuple[str, ...]]) -> list[str]:
    named = listed((", ".join(each) for each in sorted(paths.elements())), most=5, joint="; ")
    return [f"the records {verb}: {named}"] if named else []


def positive(wire: Mapping[str, Any], key: str, where: str) -> float:
    """A number above 0 of a record.

    Raises:
        BadInput: naming the key: it is missing, or something else.
    """
    value = wire.get(key)
    if value is None:
        raise BadInput(f"{where} lacks {key!r}")
    if value == 0 or not is_number(value, 0):
        raise BadInput(f"{where} has a wrong {key!r}: {shorten(value, 40)}")
    return float(value)


def _megabytes(size: re.Match[str]) -> Decimal:
    return Decimal(size[1]) * _MB[size[2].upper()]


def run_of(paths: Iterable[str]) -> str:
    """The result path without its run number: what repeats of a run share.

    >>> run_of(["1GB/2"]), run_of(["1GB/run 2/"]), run_of(["1GB_run2"]), run_of(["batch-32"])
    ('1GB', '1GB', '1GB', 'batch-32')
    """
    return _NUMBER_OF_RUN.sub("", next(iter(paths), ""))

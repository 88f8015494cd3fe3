"""Finished runs under a file, a folder or a prefix: their records and their plans, whichever system wrote them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inference.contract.documents import read_document
from inference.contract.json_text import parse_json
from inference.contract.object_keys import RESERVED, natural_order
from inference.errors import BadInput
from inference.storage.prefetch import prefetch
from inference.storage.store import Store
from tasks.combined_data.one_machine import PROCESSED, TOTAL, Growth, read_growth, read_total
from tasks.combined_data.records import Planned, Record, plan_by_name, read_plan, read_records, shortfalls
from tasks.combined_data.slurm import ACCOUNTING, JOB, Accounting, planned_tasks, read_accounting, read_job

_COMBINED = re.compile(r"combined_[^/]*\.json")
_WHOLE, _PARTIAL, _PLAN = "combined_data.json", "combined_data.partial.json", "payload.json"
_RANK = re.compile(r"[0-9]+\.json")


@dataclass(frozen=True)
class ArchivedRun:
    """A run as it was found.

    Attributes:
        name: its file, or the folder of its rank results.
        records: of its ranks.
        planned: what it should have come to, if that is known.
        shortfalls: what is missing or too much, a sentence each; none in a whole run.
        wall_s: its wall time, where its records have none but something else tells it.
        growth: of a run on one machine, its figures by gigabyte.
    """

    name: str
    records: tuple[Record, ...]
    planned: Planned | None
    shortfalls: tuple[str, ...]
    wall_s: float | None = None
    growth: Growth | None = None


@dataclass(frozen=True)
class _Place:
    names: Sequence[str]
    read: Callable[[str], bytes]


def find_runs(path: Path) -> list[ArchivedRun]:
    """Runs in a file or in a folder and all below it.

    Raises:
        BadInput: there is none, or a file is malformed; named.
    """
    folder = path if path.is_dir() else path.parent
    names = (each.relative_to(folder).as_posix() for each in path.rglob("*")) if path.is_dir() else [path.name]

    def read(name: str) -> bytes:
        return read_document(folder / name, "the results")

    there = [name for name in names if _is_read(name, path.is_dir()) and (folder / name).is_file()]
    if not path.is_dir():
        there += [name for name in (_PLAN, ACCOUNTING) if (folder / name).is_file()]
    return _runs(_Place(there, read), str(path), the_file=None if path.is_dir() else path.name)


def find_stored_runs(store: Store, bucket: str, prefix: str) -> list[ArchivedRun]:
    """Runs under a prefix of a bucket, or the one whose combined file the prefix names.

    Raises:
        BadInput: there is none, or a file is malformed; named.
        StoreError: the store refuses.
    """
    where = f"{bucket}/{prefix}"
    if prefix.endswith(".json"):
        folder, _, name = prefix.rpartition("/")
        keys = [name, *([_PLAN] if store.head(bucket, f"{folder}/{_PLAN}") is not None else [])]
        if store.head(bucket, prefix) is None:
            raise BadInput(f"there is no {where} in {store.root}")
        return _runs(_Place(keys, lambda key: store.read(bucket, f"{folder}/{key}")), where, the_file=name)
    keys = [stored.key.removeprefix(f"{prefix}/") for stored in store.list(bucket, prefix)]
    keys = [key for key in keys if _is_read(key)]
    return _runs(_Place(keys, lambda key: store.read(bucket, f"{prefix}/{key}")), where, the_file=None)


def _is_read(name: str, named_by_kind: bool = True) -> bool:
    """Whether a file may tell of a run, and is no run's own copy, whose summaries lie under the customary names too."""
    is_wanted = name.endswith(".json") or _last(name) == ACCOUNTING or not named_by_kind
    return is_wanted and RESERVED not in name.split("/")


def with_plan(run: ArchivedRun, planned: Planned) -> ArchivedRun:
    """The run held against a plan that somebody names."""
    return replace(run, planned=planned, shortfalls=tuple(shortfalls(run.records, planned)))


def with_accounting(run: ArchivedRun, accounting: Accounting) -> ArchivedRun:
    """The run with its wall time as `sacct` has it, and what `sacct` says went wrong."""
    return replace(run, wall_s=accounting.wall_s, shortfalls=(*run.shortfalls, *accounting.shortfalls))


def _runs(place: _Place, where: str, the_file: str | None) -> list[ArchivedRun]:
    names = [the_file] if the_file else list(place.names)
    others = {name for name in names if JOB.fullmatch(_last(name)) or _last(name) == TOTAL}
    combined = [name for name in names if name not in others and (the_file or _COMBINED.fullmatch(_last(name)))]
    whole = {_folder(name) for name in combined if _last(name) == _WHOLE}
    combined = [name for name in combined if the_file or _last(name) != _PARTIAL or _folder(name) not in whole]
    summed = {_folder(name) for name in combined} | {_folder(name) for name in others if _last(name) == TOTAL}
    runs = {name: _run(name, read_records(place.read(name), name), place) for name in combined}
    for name in (name for name in others if _last(name) == TOTAL):
        runs[name] = _grown(name, *read_total(place.read(name), name, _folder(name).rstrip("/") or where))
    for folder, jobs in _by_folder(others - runs.keys()).items():
        name = folder.rstrip("/") or where
        runs[name] = _slurm(name, folder, jobs, place)
    for folder, ranks in _by_folder(() if the_file else (n for n in names if _RANK.fullmatch(_last(n)))).items():
        name = folder.rstrip("/") or where
        if folder not in summed:
            runs[name] = _loose(name, ranks, place)
    if not runs:
        raise BadInput(f"there is no combined_data.json and no rank result under {where}")
    return [runs[name] for name in sorted(runs, key=natural_order)]


def _by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=natural_order):
        found.setdefault(_folder(name), []).append(name)
    return found


def _loose(name: str, ranks: Sequence[str], place: _Place) -> ArchivedRun:
    """A run without a summary: a `<rank>.json` each, or a `<gigabytes>.json` each of a run on one machine."""
    first = parse_json(place.read(ranks[0]), ranks[0])
    if isinstance(first, dict) and PROCESSED in first:
        parsed = prefetch(lambda rank: parse_json(place.read(rank), rank), ranks)
        run = _grown(name, *read_growth(list(parsed), name, name))
        return replace(run, shortfalls=(f"{name} has no {TOTAL}: the run was not ended", *run.shortfalls))
    alone = prefetch(lambda rank: _alone(place.read(rank), rank), ranks)
    return _run(name, [record for found in alone for record in found], place)


def _grown(name: str, growth: Growth, record: Record) -> ArchivedRun:
    return ArchivedRun(name, (record,), None, (), wall_s=record.seconds, growth=growth)


def _slurm(name: str, folder: str, jobs: Sequence[str], place: _Place) -> ArchivedRun:
    tasks = list(prefetch(lambda job: read_job(place.read(job), job, name), jobs))
    records = tuple(record for task in tasks for record in task)
    numbers = [int(found[1]) for job in jobs if (found := JOB.fullmatch(_last(job)))]
    planned = planned_tasks(numbers, tasks.count([])) if len(jobs) > 1 else None
    run = ArchivedRun(name, records, planned, tuple(shortfalls(records, planned)))
    if not records:
        return replace(run, shortfalls=(f"{name} holds no record", *run.shortfalls))
    accounting = f"{folder}{ACCOUNTING}"
    if accounting in place.names:
        run = with_accounting(run, read_accounting(place.read(accounting), accounting))
    return run


def _run(name: str, records: Sequence[Record], place: _Place) -> ArchivedRun:
    plan = f"{_folder(name) if name.endswith('.json') else f'{name}/'}{_PLAN}"
    planned = read_plan(place.read(plan), plan) if plan in place.names else plan_by_name(records)
    warnings = shortfalls(records, planned)
    if _last(name) == _PARTIAL:
        warnings = ["it was written as the partial result of an incomplete run", *warnings]
    if not records:
        warnings = [f"{name} holds no record", *warnings]
    return ArchivedRun(name, tuple(records), planned, tuple(warnings))


def _alone(data: bytes, name: str) -> list[Record]:
    """The record of a `<rank>.json`."""
    return read_records(b"[" + data + b"]", name)


def _folder(name: str) -> str:
    return name[: len(name) - len(_last(name))]


def _last(name: str) -> str:
    return name.rpartition("/")[2]

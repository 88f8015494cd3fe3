"""Finished runs under a file, a folder or a prefix: their records and their plans, whichever system wrote them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inference.contract.object_keys import RESERVED, natural_order
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.combined_data.records import Planned, Record, plan_by_name, read_plan, read_records, shortfalls

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
    """

    name: str
    records: tuple[Record, ...]
    planned: Planned | None
    shortfalls: tuple[str, ...]


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
    names = (each.relative_to(folder).as_posix() for each in path.rglob("*.json")) if path.is_dir() else [path.name]

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise BadInput(f"cannot read {folder / name}: {error.strerror}") from None

    there = [name for name in names if _is_public(name) and (folder / name).is_file()]
    if not path.is_dir() and (folder / _PLAN).is_file():
        there.append(_PLAN)
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
    keys = [key for key in keys if _is_public(key)]
    return _runs(_Place(keys, lambda key: store.read(bucket, f"{prefix}/{key}")), where, the_file=None)


def _is_public(name: str) -> bool:
    """Whether a file is no run's own copy, whose summaries lie under the customary names too."""
    return RESERVED not in name.split("/")


def with_plan(run: ArchivedRun, planned: Planned) -> ArchivedRun:
    """The run held against a plan that somebody names."""
    return replace(run, planned=planned, shortfalls=tuple(shortfalls(run.records, planned)))


def _runs(place: _Place, where: str, the_file: str | None) -> list[ArchivedRun]:
    combined = [the_file] if the_file else [name for name in place.names if _COMBINED.fullmatch(_last(name))]
    whole = {_folder(name) for name in combined if _last(name) == _WHOLE}
    combined = [name for name in combined if the_file or _last(name) != _PARTIAL or _folder(name) not in whole]
    summed = {_folder(name) for name in combined}
    loose: dict[str, list[str]] = {}
    for name in place.names:
        if not the_file and _RANK.fullmatch(_last(name)) and _folder(name) not in summed:
            loose.setdefault(_folder(name), []).append(name)
    found = {name: read_records(place.read(name), name) for name in combined}
    for folder, ranks in loose.items():
        ranks.sort(key=natural_order)
        found[folder.removesuffix("/") or where] = [
            record for name in ranks for record in _alone(place.read(name), name)
        ]
    if not found:
        raise BadInput(f"there is no combined_data.json and no rank result under {where}")
    return [_run(name, found[name], place) for name in sorted(found, key=natural_order)]


def _run(name: str, records: Sequence[Record], place: _Place) -> ArchivedRun:
    plan = f"{_folder(name) if name.endswith('.json') else f'{name}/'}{_PLAN}"
    planned = read_plan(place.read(plan), plan) if plan in place.names else plan_by_name(records)
    warnings = shortfalls(records, planned)
    if _last(name) == _PARTIAL:
        warnings = [f"{name} was written as the partial result of an incomplete run", *warnings]
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

"""check_sweep: all that a sweep needs is looked at before its first galaxy is simulated, by command and flow alike."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from inference.contract.run_request import RunRequest
from inference.contract.sample import BYTES_PER_SAMPLE
from inference.errors import BadInput, StoreError
from inference.runs.plan import SUFFIXES
from inference.storage.store import S3_ROOT, Store
from inference.storage.writable import check_writable
from tasks.executors.select import executor_of
from tasks.simulate import FOLDER, survey_file
from tasks.staging.weights import look_at_model
from tasks.survey.partitions import check_source
from tasks.sweeps.sweep import PlannedCell, Sweep

_RESULTS_BYTES = 200  # of a galaxy's redshifts and of all else that a run leaves, rounded up
_GB = 1e9


def check_sweep(sweep: Sweep, store_root: str) -> None:
    """Look at executors, bucket, model, partitions and disk, and write nothing.

    Args:
        sweep: what is to be run.
        store_root: root of the store, a folder or `s3://`.

    Raises:
        BadInput: something is missing; one sentence for each thing, with the command that makes it.
    """
    faults = list(dict.fromkeys(_faults(sweep, store_root)))
    if faults:
        raise BadInput("; ".join(faults))


def _faults(sweep: Sweep, root: str) -> Iterator[str]:
    store, cells = Store(root), sweep.cells()
    request = RunRequest.read(cells[0].request_of(sweep.results, 1))
    for name, cell in {cell.executor: cell for cell in cells}.items():
        yield from _fault(lambda name=name, cell=cell: _check_executor(name, cell, sweep, root))  # type: ignore[misc]
    unreachable = list(_fault(lambda: _check_bucket(store, request.bucket)))
    yield from unreachable
    if unreachable:
        return
    yield from _fault(lambda: _check_model(request, store, root))
    if sweep.survey is None:
        for cell in cells:
            yield from _fault(lambda cell=cell: _check_partitions(cell, sweep, store))  # type: ignore[misc]
    elif sweep.survey.source is not None:
        source = sweep.survey.source
        yield from _fault(lambda: check_source(Path(source).expanduser()))
    yield from _fault(lambda: _check_disk(sweep, store, root))


def _fault(look: Callable[[], None]) -> Iterator[str]:
    try:
        look()
    except (BadInput, StoreError) as error:
        yield str(error)


def _check_executor(name: str, cell: PlannedCell, sweep: Sweep, root: str) -> None:
    request = RunRequest.read(cell.request_of(sweep.results, 1))
    executor_of(name, request, root, sweep.workers_of(cell)).check()


def _check_bucket(store: Store, bucket: str) -> None:
    check_writable(store)
    if not store.is_local and not store.has_bucket(bucket):
        raise BadInput(f"there is no bucket {bucket}: `cosmic init {bucket} --store {S3_ROOT}` makes it")


def _check_model(request: RunRequest, store: Store, root: str) -> None:
    if request.script is not None or request.model is None:
        return
    if not look_at_model(request, store):
        place = f"{root.rstrip('/')}/{request.bucket}/{request.model}" if store.is_local else ""
        place = place or f"{S3_ROOT}{request.bucket}/{request.model}"
        raise BadInput(
            f"there is no model {request.model} in {request.bucket}:"
            f" `cosmic model new {place} --size full` makes one with random weights, which is enough to time it"
        )


def _check_partitions(cell: PlannedCell, sweep: Sweep, store: Store) -> None:
    request, wanted = cell.request, int(cell.request["file_limit"])
    bucket, prefix = request["data_bucket"], request["data_prefix"]
    there = sum(stored.key.endswith(SUFFIXES) for stored in store.list(bucket, prefix))
    if there < (1 if sweep.reuse else wanted):
        target = f"{S3_ROOT}{bucket}/{prefix}" if not store.is_local else f"{store.root}/{bucket}/{prefix}"
        raise BadInput(
            f"{bucket}/{prefix}/ holds {there} of {wanted:,} partitions:"
            f" `cosmic partition SURVEY --size {cell.axes['partition_size']} --to {target}` makes them of a survey file"
        )


def _check_disk(sweep: Sweep, store: Store, root: str) -> None:
    """The survey lies in the home; its partitions, once for each size and format, lie in the store."""
    if sweep.survey is None or sweep.survey.samples is None:
        return
    each = sweep.survey.samples * BYTES_PER_SAMPLE
    needed: dict[Path, float] = {}
    if not survey_file(sweep.survey.samples, sweep.survey.seed).exists():
        needed[_existing(FOLDER)] = each
    if store.is_local:
        prefixes = {str(cell.request["data_prefix"]) for cell in sweep.cells()}
        bucket = Path(root).expanduser() / str(sweep.request["data_bucket"])
        made = [prefix for prefix in prefixes if not (bucket / prefix).exists()]
        runs = sweep.repeats * sum(cell.samples for cell in sweep.cells())
        folder = _existing(Path(root).expanduser().absolute())
        needed[folder] = needed.get(folder, 0) + each * len(made) + _RESULTS_BYTES * runs
    for folder, wanted in needed.items():
        free = shutil.disk_usage(folder).free
        if free < wanted:
            raise BadInput(
                f"the survey, its partitions and results need {wanted / _GB:,.1f} GB and {free / _GB:,.1f} GB are free"
                f" in {folder}: make room, or name another disk with --store"
            )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())

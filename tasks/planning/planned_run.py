"""From a request and a store to a prediction: what would run where, and which earlier runs tell of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from inference.contract.counted import counted
from inference.contract.run_request import RunRequest
from inference.contract.sample import IMAGE_SHAPE, bytes_per_sample, samples_of_size
from inference.errors import BadInput, CosmicError
from inference.model.checkpoint import read_config
from inference.model.config import SMALL
from inference.model.onnx_file import is_onnx_file
from inference.model.tensor_shapes import parameters_of
from inference.runs.plan import assign, select_files, world_size_of
from inference.storage.store import Store, StoredObject
from tasks.executors.base import Executor, cores
from tasks.executors.lambda_limits import ACCOUNT_CONCURRENCY
from tasks.executors.select import ON_AWS
from tasks.planning.environments import GONE_S, environments
from tasks.planning.fit import comparable_runs, differences, fit
from tasks.planning.history import PastRun, past_runs, runs_elsewhere
from tasks.planning.pace import pace
from tasks.planning.prediction import FEWEST, MOST, RANKS_IN_ALL, RANKS_OF_ONE, Prediction, predict
from tasks.planning.shipped import shipped
from tasks.planning.simulated_executor import Place
from tasks.planning.simulated_run import Configuration
from tasks.planning.stages import StageModel, lambda_processors
from tasks.staging.known_survey import shape_of_galaxies
from tasks.staging.weights import ImageShape, Weights, find_weights
from tasks.sweeps import machine


def place_of(request: RunRequest, executor: str, workers: int | None) -> Place:
    """Where the ranks of a request would run; what AWS would say of the function is taken from the request."""
    if executor in ON_AWS:
        concurrency, processors = request.max_concurrency or ACCOUNT_CONCURRENCY, lambda_processors(request.memory_mb)
        environments = max(ACCOUNT_CONCURRENCY, concurrency)
    else:
        there = cores()
        asked = there if workers is None else max(workers, 1)
        concurrency = environments = min(asked, request.max_concurrency or asked)
        processors = float(max(there // concurrency, 1))
    return Place(
        executor=executor,
        concurrency=concurrency,
        environments=environments,
        ramps=executor in ON_AWS,
        memory_mb=request.memory_mb,
        processors=processors,
        timeout_s=request.rank_timeout,
    )


def kind_of(
    request: RunRequest,
    store: Store,
    executor: str,
    place: Place,
    weights: Weights | None = None,
    pool: Executor | None = None,
) -> dict[str, Any]:
    """What decides how fast the run will be, as `PastRun.kind` has it.

    Args:
        request: the checked request.
        store: holds the model.
        executor: its name.
        place: where the ranks run.
        weights: of the model, where they have been found already.
        pool: the executor that will run, where it has been checked: it knows its function.
    """
    here = executor in {"local", "dask"}
    model = None if request.script is not None else (weights or find_weights(request, store)).sha256
    return {
        "executor": executor,
        "model": model,
        "engine": "script" if request.script is not None else request.engine,
        "precision": None if request.script is not None else request.precision,
        "workers": place.concurrency if executor == "local" else None,
        "batch size": request.batch_size,
        "memory": None if here else place.memory_mb,
        "function": None if here else request.function_name,
        "modified": None if pool is None else pool.facts().get("function_modified"),
        "machine": machine.describe_machine()["cpu"] if here else None,
    }


def samples_of_ranks(
    request: RunRequest, listing: Sequence[StoredObject], galaxies: ImageShape = IMAGE_SHAPE
) -> tuple[tuple[int, ...], int]:
    """Galaxies of each rank by the sizes of its partitions, and how many partitions are read.

    Args:
        request: the checked request.
        listing: every object under the data prefix.
        galaxies: bands, height and width of a cut-out.

    Raises:
        BadInput: there is no partition.
    """
    files = select_files(listing, request)
    shares = assign(files, world_size_of(request, files))
    return tuple(max(sum(file.size for file in share) // bytes_per_sample(galaxies), 1) for share in shares), len(files)


def samples_of_data(data: str, partition: str) -> tuple[tuple[int, ...], int]:
    """Galaxies of each rank of a data set that exists on paper only, one rank for each partition.

    >>> samples, partitions = samples_of_data("1GB", "25MB")
    >>> samples[0], partitions
    (1278, 41)

    Raises:
        BadInput: the sizes are not written as sizes.
    """
    each, whole = samples_of_size(partition), samples_of_size(data)
    return (each,) * -(-whole // each), -(-whole // each)


def parameters_of_model(request: RunRequest, weights: Weights | None = None) -> int | None:
    """How many parameters the model of a request has; None where that is not known.

    Args:
        request: the checked request.
        weights: of the model, where they have been found already.
    """
    if request.model is None:
        return parameters_of(SMALL)
    return None if weights is None or is_onnx_file(weights.path) else parameters_of(read_config(weights.path))


def model_of(
    runs: Sequence[PastRun],
    wanted: dict[str, Any],
    place: Place,
    *,
    parameters: int | None,
    samples: Sequence[int] = (),
) -> tuple[StageModel, list[str]]:
    """The stage model of a planned run, from earlier ones if any tell of it, else as shipped; and notes.

    Args:
        runs: earlier ones.
        wanted: the planned run's kind (`PastRun.kind`).
        place: where it runs.
        parameters: of its model (`parameters_of_model`).
        samples: galaxies of each planned rank, where a note is wanted if no earlier rank had about as many.
    """
    base = shipped(place.executor, parameters=parameters)
    best, notes = comparable_runs(runs, wanted)
    if not best:
        if place.executor == "local":
            base = base.slowed(pace())
        return base, [*notes, "no earlier run of this kind is known: the times are shipped measurements, not yours"]
    workers = best[-1].document.get("workers")
    processors = place.processors
    if place.executor == "local" and workers:
        processors = float(max(cores() // int(workers), 1))
    elif memory := best[-1].document.get("function_memory_mb"):
        processors = lambda_processors(int(memory))
    seen = sorted(rank.samples for run in best for rank in run.ranks)
    if samples and not seen[0] / 2 <= median(samples) <= 2 * seen[-1]:
        there = f"{seen[0]:,}" if seen[0] == seen[-1] else f"{seen[0]:,} to {seen[-1]:,}"
        notes.append(
            f"earlier ranks had {there} galaxies, and this run's have {median(samples):,.0f}:"
            " the prediction reaches beyond what was measured"
        )
    count = len(best)
    ranks = sum(len(run.ranks) for run in best)
    source = f"fitted from {counted(count, 'earlier run')} of this kind with {counted(ranks, 'rank')}"
    elsewhere = any("machine" in differences(run, wanted) for run in best)
    return fit(best, base, processors, source, elsewhere=elsewhere), notes


def as_wide_as_seen(place: Place, runs: Sequence[PastRun], wanted: dict[str, Any]) -> Place:
    """The place, as wide as its state machine was: the map of an emulator ignores the limit that its input names."""
    if place.executor != "step-functions":
        return place
    seen = [run.at_once for run in runs if all(run.kind[name] == wanted[name] for name in ("executor", "function"))]
    return replace(place, concurrency=max([place.concurrency, *seen]))


def predict_request(
    request: RunRequest,
    store_root: str,
    executor: str,
    workers: int | None,
    listing: Sequence[StoredObject] | None = None,
    *,
    on_paper: str | None = None,
    samples: tuple[int, ...] | None = None,
    pool: Executor | None = None,
    weights: Weights | None = None,
    galaxies: ImageShape | None = None,
    under: str = "",
    at_most: tuple[int, int] = (MOST, RANKS_IN_ALL),
) -> Prediction:
    """What a request is expected to take.

    Args:
        request: the checked request.
        store_root: root of the store.
        executor: its name.
        workers: processes of the local executor.
        listing: every object under the data prefix, where it has been listed already.
        on_paper: size of a data set that need not exist, "12.6GB", in partitions of `partition.size`.
        samples: of each rank, where they are known already.
        pool: the executor that will run, whose concurrency and memory are known better than the request's.
        weights: of the model, where they have been found already.
        galaxies: bands, height and width of the cut-outs, where they are known already.
        under: folder of the bucket in which earlier runs are looked for first; outside it, where it has none that
            tell, and for environments that they left warm. Default the whole bucket.
        at_most: simulated runs, and ranks that all of them have together.

    Raises:
        BadInput: there are no partitions to plan for, or no model.
        StoreError: the store cannot be read.
    """
    store = Store(store_root)
    place = place_of(request, executor, workers)
    if pool is not None:
        width = place.concurrency if pool.takes_whole_run else max(min(pool.concurrency, place.concurrency), 1)
        processors = lambda_processors(pool.memory_mb) if executor in ON_AWS else place.processors
        place = replace(place, concurrency=width, memory_mb=pool.memory_mb, processors=processors)
    if samples is not None:
        partitions = len(samples)
    elif on_paper is not None:
        size = request.partition.size if request.partition else "25MB"
        samples, partitions = samples_of_data(on_paper, f"{size}")
    else:
        found = store.list(request.data_bucket, request.data_prefix) if listing is None else listing
        if listing is None and not found and request.partition is not None:
            raise BadInput(
                "partition: make the partitions first (`cosmic partition`), or plan on paper with --data SIZE"
            )
        galaxies = galaxies or shape_of_galaxies(request, store, found)
        samples, partitions = samples_of_ranks(request, found, galaxies)
    if weights is None and request.script is None:
        weights = find_weights(request, store, galaxies or IMAGE_SHAPE)
    runs, notes = _earlier(partial(past_runs, store, request.bucket, under=under))
    kind, parameters = kind_of(request, store, executor, place, weights, pool), parameters_of_model(request, weights)
    model, more = model_of(runs, kind, place, parameters=parameters, samples=samples)
    if under and (not model.runs or executor in ON_AWS):
        since = time.time() - GONE_S if model.runs else None
        others, doubts = _earlier(partial(runs_elsewhere, store, request.bucket, under, since))
        runs, notes = [*others, *runs], [*notes, *doubts]
        if not model.runs and others:
            model, more = model_of(runs, kind, place, parameters=parameters, samples=samples)
    warm, place = environments(runs, kind, time.time()), as_wide_as_seen(place, runs, kind)
    on_s3 = executor in ON_AWS or not store.is_local
    configuration = Configuration(request, place, samples, on_s3, warm)
    fewest = FEWEST if len(samples) <= RANKS_OF_ONE else 1
    simulated = max(min(at_most[0], at_most[1] // len(samples)), fewest)
    return predict(configuration, model, partitions, [*notes, *more], runs=simulated)


def _earlier(look: Callable[[], tuple[list[PastRun], list[str]]]) -> tuple[list[PastRun], list[str]]:
    """Earlier runs and notes; a bucket that cannot be read gives a note."""
    try:
        return look()
    except CosmicError as error:
        return [], [f"earlier runs cannot be read: {error}"]

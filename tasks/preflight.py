"""The preflight: everything that a run needs is found before its first write, once, and passed on."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.contract.run_request import RunRequest
from inference.contract.sample import IMAGE_SHAPE
from inference.contract.script import is_image
from inference.errors import BadInput, StoreError
from inference.rank_results.publish_summary import BILLED, SUMMARIES
from inference.runs.plan import check_complete, select_files
from inference.scripts.container import Container
from inference.scripts.environment import NOT_ON_FUNCTIONS, python_with
from inference.scripts.interpreter import interpreter
from inference.storage.store import Store, StoredObject
from inference.storage.writable import check_place, check_writable
from tasks.dispatch.gang import check_gang
from tasks.executors.base import Executor
from tasks.executors.select import ON_AWS, executor_of, placed
from tasks.planning.foretold import foretell
from tasks.planning.prediction import Prediction
from tasks.reporting.terminal import waiting
from tasks.staging.known_survey import check_survey, shape_of_galaxies
from tasks.staging.requirements import read_requirements
from tasks.staging.scripts import find_script
from tasks.staging.weights import Weights, find_weights
from tasks.survey.partitions import made_before


@dataclass(frozen=True)
class Prepared:
    """What a run needs, as it was found before the first write; nothing of it is looked up again.

    Attributes:
        request: the checked request, with the region and architecture that its ranks really run in.
        store_root: root of the store, an absolute folder or `s3://`.
        executor: checked.
        workers: as they were asked for.
        listing: every object under the request's data prefix; None where its partitions are yet to be made.
        weights: of the built-in engine; None for a script.
        script_source: a script's folder or file that is to be staged; None where it is staged already.
        prediction: what the run is expected to take; None where nothing tells.
        requirements: text of the requirements file of a script's environment; "" for none.
        survey_note: what the report says of pixels, bands and units that are not the model's, or not known.
    """

    request: RunRequest
    store_root: str
    executor: Executor
    workers: int | None
    listing: tuple[StoredObject, ...] | None
    weights: Weights | None
    script_source: Path | None
    prediction: Prediction | None
    requirements: str = ""
    survey_note: str | None = None

    @property
    def trained_on(self) -> dict[str, Any] | None:
        """What the model says of its training galaxies; None where it says nothing, or is a script."""
        known = None if self.weights is None else self.weights.training_data
        return None if known is None else known.to_dict()

    def answers(self, request: RunRequest, store_root: str, executor: str, workers: int | None) -> bool:
        """Whether this is what was found for the same run."""
        same = (self.store_root, self.executor.name, self.workers) == (store_root, executor, workers)
        return same and placed(request, self.executor) == self.request


_handed_over: ContextVar[Prepared | None] = ContextVar("handed_over", default=None)


@contextmanager
def hand_over(prepared: Prepared) -> Iterator[None]:
    """Let the next run of the same request, within the block, use what was found for it already."""
    token = _handed_over.set(prepared)
    try:
        yield
    finally:
        _handed_over.reset(token)


def prepare(request: RunRequest, store_root: str, executor: str, workers: int | None) -> Prepared:
    """Find everything that a run needs, and write nothing.

    What was handed over for this request is taken, once: a flow run that is retried looks again. Prices are of no
    concern here; a region without known prices is no reason not to run.

    Raises:
        BadInput: the executor, the model, the partitions, their source, the script or the store are not as they must
            be, or the bill is expected to exceed `max_cost`.
    """
    root = store_root if "://" in store_root else str(Path(store_root).expanduser().resolve())
    known = _handed_over.get()
    _handed_over.set(None)
    if known is not None and known.answers(request, root, executor, workers):
        return known
    return _look(request, root, executor, workers)


def _look(request: RunRequest, root: str, executor: str, workers: int | None) -> Prepared:
    pool = executor_of(executor, request, root, workers)
    pool.check()
    check_gang(request, pool)
    store = Store(root)
    check_writable(store)
    try:
        if not store.is_local and not store.has_bucket(request.bucket):
            raise BadInput(f"bucket: there is no bucket {request.bucket}: `cosmic init {request.bucket} --store s3://`")
        check_place(store, request.bucket, request.result_path, ("payload.json", *BILLED, *SUMMARIES))
        listing = made_before(request, store)
        if request.partition is None:
            check_complete(store, request.data_bucket, request.data_prefix)
            listing = store.list(request.data_bucket, request.data_prefix)
            select_files(listing, request)
        weights, galaxies = None, IMAGE_SHAPE
        if request.script is None:
            galaxies = shape_of_galaxies(request, store, listing)
            weights = find_weights(request, store, galaxies)
        note = check_survey(request, store, listing, weights)
        script_source = None if request.script is None else find_script(request, store)
        requirements = _look_at_environment(request, executor, store)
    except StoreError as error:  # nothing has been written yet
        raise BadInput(str(error)) from error
    found = None if listing is None else tuple(listing)
    request = placed(request, pool)
    prediction = foretell(request, root, pool, found, weights, galaxies)
    return Prepared(request, root, pool, workers, found, weights, script_source, prediction, requirements, note)


def _look_at_environment(request: RunRequest, executor: str, store: Store) -> str:
    """See that the script's interpreter is on this machine if ranks run here; returns its environment's requirements.

    Raises:
        BadInput: it is not, and can be neither made nor pulled.
    """
    if request.script_environment and executor in ON_AWS:
        raise BadInput(NOT_ON_FUNCTIONS)
    requirements = read_requirements(request, store)
    if executor == "local" and requirements:
        with waiting("making the script's environment; the first time takes as long as pip does"):
            python_with(requirements)
    elif executor == "local" and is_image(request.script_environment):
        with waiting("looking for the script's image; the first time it is pulled"):
            Container(request.script_environment)
    elif executor == "local":
        interpreter(request.python)
    return requirements

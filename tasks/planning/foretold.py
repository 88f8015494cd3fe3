"""The prediction that a run begins with: shown first, held against its limit, kept in its summary."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.contract.run_request import RunRequest
from inference.contract.sample import IMAGE_SHAPE, bytes_per_sample, samples_of_size
from inference.errors import BadInput, CosmicError
from inference.storage.store import StoredObject
from tasks.executors.base import Executor
from tasks.planning.planned_run import predict_request
from tasks.planning.prediction import Prediction
from tasks.reporting.formatting import usd
from tasks.staging.weights import ImageShape, Weights

RUNS = 40  # that are simulated before a real one: a tenth of a second
RANKS_IN_ALL = 4_000  # or fewer, where a run has many ranks


def foretell(
    request: RunRequest,
    store_root: str,
    executor: Executor,
    listing: Sequence[StoredObject] | None,
    weights: Weights | None,
    galaxies: ImageShape = IMAGE_SHAPE,
) -> Prediction | None:
    """What the run is expected to take; None where nothing tells, which stops no run.

    Earlier runs are looked for beside this one, in the folder that its result path lies in, and elsewhere in the bucket
    where that folder does not tell all.

    Args:
        request: the checked request.
        store_root: root of the store.
        executor: checked.
        listing: every object under the data prefix; None where the partitions are yet to be made.
        weights: of the built-in engine; None for a script.
        galaxies: bands, height and width of the cut-outs.

    Raises:
        BadInput: the request has `max_cost`, and the bill is expected to be higher, or is unknown.
    """
    prediction, why = None, "nothing tells"
    try:
        prediction = predict_request(
            request,
            store_root,
            executor.name,
            executor.concurrency,
            listing,
            samples=None if listing is not None or request.partition is None else samples_to_be(request, galaxies),
            pool=executor,
            weights=weights,
            galaxies=galaxies,
            under=request.result_path.rpartition("/")[0],
            at_most=(RUNS, RANKS_IN_ALL),
        )
    except (CosmicError, ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
        why = str(error)  # a summary that somebody edited by hand must not stop a run
    if request.max_cost is not None:
        _check_cost(prediction, request.max_cost, why)
    return prediction


def samples_to_be(request: RunRequest, galaxies: ImageShape = IMAGE_SHAPE) -> tuple[int, ...]:
    """Galaxies of each partition that is yet to be made and will be read, by the size of its source."""
    wanted = request.partition
    if wanted is None:
        return ()
    whole = max(Path(wanted.source).expanduser().stat().st_size // bytes_per_sample(galaxies), 1)
    each = wanted.size if isinstance(wanted.size, int) else samples_of_size(wanted.size)
    each = min(each, whole)
    return ((each,) * (whole // each) + ((whole % each,) if whole % each else ()))[: request.file_limit]


def _check_cost(prediction: Prediction | None, most: float, why: str) -> None:
    if prediction is None or prediction.usd is None:
        reason = "no price is known for the region: `cosmic prices REGION` fetches it" if prediction else why
        raise BadInput(f"max_cost: the bill cannot be predicted: {reason}")
    if prediction.usd.p90 > most:
        raise BadInput(
            f"the run is expected to cost {usd(prediction.usd.p50)}, and {usd(prediction.usd.p90)} in one run of ten"
            f" ({prediction.source}), more than max_cost, ${most:g}: `cosmic plan` shows what it is made of"
        )


def one_line(prediction: Prediction) -> str:
    """The prediction as it is shown before a run."""
    makespan, whole, bill = prediction.makespan_s, prediction.end_to_end_s, prediction.usd
    parts = [f"makespan {makespan.p50:,.1f} s ({makespan.low:,.1f} to {makespan.high:,.1f})"]
    parts.append(f"end to end {whole.p50:,.1f} s ({whole.low:,.1f} to {whole.high:,.1f})")
    parts.append("bill unknown" if bill is None else f"bill {usd(bill.p50)} ({usd(bill.low)} to {usd(bill.high)})")
    return f"Expected: {', '.join(parts)} ({prediction.source.partition(':')[0]})"


def as_stored(prediction: Prediction) -> dict[str, Any]:
    """The prediction as summary.json has it."""
    document = prediction.to_dict()
    return {name: document[name] for name in ("makespan_s", "end_to_end_s", "usd", "limit", "source", "runs", "notes")}

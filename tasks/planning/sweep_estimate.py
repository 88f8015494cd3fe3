"""What a sweep will take, before anything is spent: each cell is simulated as `cosmic plan` simulates a run."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from statistics import fmean, median

from inference.contract.run_request import RunRequest
from inference.errors import BadInput, CosmicError
from inference.storage.store import Store
from tasks.executors.select import ON_AWS
from tasks.planning.history import PastRun, past_runs
from tasks.planning.pace import pace
from tasks.planning.planned_run import kind_of, model_of, parameters_of_model, place_of
from tasks.planning.simulated_run import Configuration, planned_events, simulate_run
from tasks.sweeps.local_rates import SIMULATED_PER_S
from tasks.sweeps.sweep import PlannedCell, Sweep

HOW = "simulated with the dispatcher that will run"
_RUNS, _RANKS = 20, 400  # simulated of a cell: so many runs, or as many as have so many ranks together


@dataclass(frozen=True)
class Expectation:
    """What one cell is expected to take.

    Attributes:
        cell: the cell.
        runs: repeats.
        invocations: of all repeats.
        rank_s: seconds of the median rank's call.
        run_s: of one run from end to end, the median.
        usd: of all repeats, on AWS; 0 for workers that nobody bills; None where no price is known.
        source: what the times are from.
    """

    cell: PlannedCell
    runs: int
    invocations: int
    rank_s: float
    run_s: float
    usd: float | None
    source: str


def expect(sweep: Sweep, store_root: str) -> list[Expectation]:
    """The expectation of each cell of a sweep, from the runs that lie in its bucket or from shipped measurements."""
    store, runs = Store(store_root), list[PastRun]()
    with suppress(CosmicError):  # there is no such bucket yet: the run says so, a plan need not
        runs, _ = past_runs(store, str(sweep.request["bucket"]))
    return [_expectation(cell, sweep, store, runs) for cell in sweep.cells()]


def _expectation(cell: PlannedCell, sweep: Sweep, store: Store, runs: Sequence[PastRun]) -> Expectation:
    request = RunRequest.read(cell.request_of(sweep.results, 1))
    place = place_of(request, cell.executor, sweep.workers_of(cell))
    on_aws = cell.executor in ON_AWS
    parameters = parameters_of_model(request)
    try:
        kind = kind_of(request, store, cell.executor, place)
        model, _ = model_of(runs, kind, place, parameters=parameters)
    except CosmicError:  # the model is not there yet
        model, _ = model_of((), {}, place, parameters=parameters)
    configuration = Configuration(request, place, (-(-cell.samples // cell.ranks),) * cell.ranks, on_aws)
    events, random = planned_events(configuration), Random(0)  # noqa: S311 - draws times, keeps no secret
    count = max(min(_RUNS, _RANKS // cell.ranks), 1)
    simulated = [simulate_run(configuration, model, events, random) for _ in range(count)]
    bills = [run.cost.usd for run in simulated if run.cost.usd is not None]
    usd = 0.0 if not on_aws else sweep.repeats * fmean(bills) if bills else None
    return Expectation(
        cell,
        sweep.repeats,
        cell.ranks * sweep.repeats,
        median(run.median_s for run in simulated),
        median(run.end_to_end_s for run in simulated),
        usd,
        model.source,
    )


def sources(expected: Sequence[Expectation]) -> str:
    """How the figures were obtained, and what the times are from."""
    return f"{HOW} ({' and '.join(sorted({each.source for each in expected}))})"


def expected_s(sweep: Sweep, expected: Sequence[Expectation], *, simulated: bool, cores: int) -> float:
    """Wall-clock seconds of a whole sweep: the survey, and its runs one after the other.

    Args:
        sweep: what is to be run.
        expected: of its cells.
        simulated: whether its survey is there already.
        cores: of this machine.
    """
    seconds = sum(each.runs * each.run_s for each in expected)
    if sweep.survey is not None and sweep.survey.samples is not None and not simulated:
        seconds += pace() * sweep.survey.samples / (SIMULATED_PER_S * cores)
    return seconds


def total_usd(expected: Sequence[Expectation]) -> float | None:
    """What all cells are expected to cost; None where a price is not known."""
    known = [each.usd for each in expected if each.usd is not None]
    return sum(known) if len(known) == len(expected) else None


def check_budget(expected: Sequence[Expectation], max_usd: float | None) -> None:
    """Refuse to start a sweep that is expected to cost more than it may.

    Raises:
        BadInput: it is; the message says both sums.
    """
    if max_usd is None:
        return
    usd = total_usd(expected)
    if usd is None:
        raise BadInput("--max-cost: no price is known for the sweep's region: `cosmic prices REGION` fetches it")
    if usd > max_usd:
        raise BadInput(f"the sweep is expected to cost ${usd:,.2f} ({HOW}), more than the ${max_usd:,.2f} it may")

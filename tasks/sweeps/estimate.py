"""What a sweep will take, before anything is spent: invocations, seconds and money, all of them guesses that say so."""

from dataclasses import dataclass

from inference.contract.run_request import MEMORY_MB, RunRequest
from inference.errors import BadInput
from tasks.billing.cost import compute_cost
from tasks.invocations.invocation import Invocation
from tasks.sweeps.sweep import PlannedCell, Sweep

RATE = 140.0  # samples/s of a rank with 10,240 MB, as the replaced system's published records have it
START_S = 2.0  # of a cold start, load included: a careful guess
# Samples/s of a local core: the full-size model (docs/published.md) and the demo's (tasks/planning/shipped.json).
LOCAL_RATE, LOCAL_DEMO_RATE = 260.0, 3700.0
AROUND_S = 3.0  # of a run before its first rank and behind its last (tasks/planning/shipped.json)
SIMULATED_PER_S = 140.0  # galaxies that a core simulates, measured on two cores of a shared machine
ON_AWS = 1000  # ranks at once, an account's usual quota
TRANSITIONS_OF_RUN, TRANSITIONS_OF_RANK = 4, 2  # of the stack's state machine
HOW = f"a guess: {RATE:g} samples/s a rank with 10,240 MB and in proportion below, {START_S:g} s to start"
HOW_LOCAL = f"on a local core {LOCAL_RATE:g} samples/s, of the demo's model {LOCAL_DEMO_RATE:,g}"


@dataclass(frozen=True)
class Expectation:
    """What one run of a cell is expected to take.

    Attributes:
        cell: the cell.
        runs: repeats.
        invocations: of all repeats.
        rank_s: seconds a rank.
        usd: of all repeats, on AWS; 0 for local workers, which nobody bills; None where no price is known.
    """

    cell: PlannedCell
    runs: int
    invocations: int
    rank_s: float
    usd: float | None


def expect(sweep: Sweep) -> list[Expectation]:
    """The expectation of each cell of a sweep.

    Raises:
        BadInput: the price book lacks the sweep's region.
    """
    return [_expectation(cell, sweep) for cell in sweep.cells()]


def _expectation(cell: PlannedCell, sweep: Sweep) -> Expectation:
    memory = int(cell.axes["memory_mb"])
    local = cell.executor in {"local", "dask"}
    rate = RATE * min(memory / MEMORY_MB, 1.0)
    if local:
        rate = LOCAL_RATE if sweep.request.get("model") else LOCAL_DEMO_RATE
    seconds = START_S + cell.samples / cell.ranks / rate
    usd: float | None = 0.0
    if not local:
        call = Invocation(
            rank=0,
            attempt=1,
            started_at=0.0,
            ended_at=seconds,
            duration_s=seconds,
            init_s=0.0,
            billed_s=seconds,
            billed_how=HOW,
            memory_mb=memory,
            max_memory_mb=0.0,
            cold=True,
            request_id="",
            worker="",
        )
        request = RunRequest.read(cell.request_of("results", 1))
        transitions = 0 if cell.executor == "lambda" else TRANSITIONS_OF_RUN + TRANSITIONS_OF_RANK * cell.ranks
        once = _usd([call] * cell.ranks, request, transitions)
        usd = None if once is None else sweep.repeats * once
    return Expectation(cell, sweep.repeats, cell.ranks * sweep.repeats, seconds, usd)


def _usd(calls: list[Invocation], request: RunRequest, transitions: int) -> float | None:
    place = request.region, request.architecture
    return compute_cost(calls, region=place[0], architecture=place[1], state_transitions=transitions).usd


def expected_s(sweep: Sweep, expected: list[Expectation], *, simulated: bool, cores: int) -> float:
    """Wall-clock seconds of a whole sweep: the survey, and its runs one after the other.

    Args:
        sweep: what is to be run.
        expected: of its cells.
        simulated: whether its survey is there already.
        cores: of this machine.
    """
    seconds = 0.0
    if sweep.survey is not None and sweep.survey.samples is not None and not simulated:
        seconds += sweep.survey.samples / (SIMULATED_PER_S * cores)
    for each in expected:
        local = each.cell.executor in {"local", "dask"}
        at_once = min(cores, max(sweep.workers or cores, 1)) if local else ON_AWS
        turns = -(-each.cell.ranks // at_once)
        seconds += each.runs * (AROUND_S + START_S + turns * (each.rank_s - START_S))
    return seconds


def total_usd(expected: list[Expectation]) -> float | None:
    """What all cells are expected to cost; None where a price is not known."""
    known = [each.usd for each in expected if each.usd is not None]
    return sum(known) if len(known) == len(expected) else None


def check_budget(expected: list[Expectation], max_usd: float | None) -> None:
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

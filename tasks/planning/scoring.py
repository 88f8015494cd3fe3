"""How good predictions were: what runs under a bucket were expected to take, against what they took."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple

from inference.contract.run_request import RunRequest
from inference.contract.validation import is_number
from inference.errors import CosmicError
from tasks.executors.select import EXECUTORS
from tasks.planning.environments import environments
from tasks.planning.history import PastRun
from tasks.planning.planned_run import as_wide_as_seen, model_of, parameters_of_model, place_of
from tasks.planning.prediction import Range, predict
from tasks.planning.simulated_run import Configuration
from tasks.run_results.expected import FIGURES, actual_of, is_whole

KEPT, REPLAYED = "kept before the run", "replayed from the runs before it"
_REPLAYS = 40  # simulated runs of a replayed prediction


class Outcome(NamedTuple):
    """One figure of one run.

    Attributes:
        figure: `makespan_s`, `end_to_end_s` or `usd`.
        executor: of the run.
        expected: before it.
        actual: what it came to.
        how: whether the prediction was kept, or is made now from the runs before this one.
    """

    figure: str
    executor: str
    expected: Range
    actual: float
    how: str

    @property
    def error(self) -> float:
        """By how much the median was off: 0.1 is 10 % too high."""
        return self.expected.p50 / self.actual - 1.0

    @property
    def inside(self) -> bool:
        """Whether the 90 % interval holds it."""
        return self.expected.low <= self.actual <= self.expected.high


@dataclass(frozen=True)
class Score:
    """How good the predictions of one figure were.

    Attributes:
        figure, executor: of which predictions; executor "all" for all of them.
        runs: compared, `replayed` of them with a prediction that is made now.
        median_error: median of the errors without their sign.
        bias: median of the errors: positive where too much is expected.
        coverage: share of runs inside their 90 % interval.
        drift: by how much the bias of the newer half exceeds that of the older; None of fewer than four.
    """

    figure: str
    executor: str
    runs: int
    replayed: int
    median_error: float
    bias: float
    coverage: float
    drift: float | None

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON."""
        return asdict(self)


def outcomes(runs: Sequence[PastRun], *, replay: bool = True) -> list[Outcome]:
    """Every figure of every whole run that was predicted, or can be from the runs before it.

    Args:
        runs: oldest first.
        replay: also those runs that keep no prediction.
    """
    found = []
    for place, run in enumerate(runs):
        if not is_whole(run.document):
            continue
        how, expected = KEPT, dict(_kept(run))
        if not expected and replay:
            how, expected = REPLAYED, _replayed(run, runs[:place])
        for figure, range_ in expected.items():
            actual = actual_of(run.document)[figure]
            if actual:
                found.append(Outcome(figure, str(run.document.get("executor")), range_, float(actual), how))
    return found


def scores(found: Sequence[Outcome]) -> list[Score]:
    """The score of each figure, for each executor and for all of them."""
    executors = sorted({each.executor for each in found})
    chosen = [*executors, "all"] if len(executors) > 1 else executors
    return [
        _score(figure, executor, some)
        for figure in FIGURES
        for executor in chosen
        if (some := [each for each in found if each.figure == figure and executor in {"all", each.executor}])
    ]


def _score(figure: str, executor: str, some: Sequence[Outcome]) -> Score:
    errors = [each.error for each in some]
    half = len(errors) // 2
    return Score(
        figure,
        executor,
        runs=len(some),
        replayed=sum(each.how == REPLAYED for each in some),
        median_error=median(map(abs, errors)),
        bias=median(errors),
        coverage=sum(each.inside for each in some) / len(some),
        drift=median(errors[half:]) - median(errors[:half]) if half > 1 else None,
    )


def _kept(run: PastRun) -> Iterator[tuple[str, Range]]:
    prediction = run.document.get("prediction")
    for figure in FIGURES:
        found = prediction.get(figure) if isinstance(prediction, dict) else None
        values = [found.get(name) for name in Range.__dataclass_fields__] if isinstance(found, dict) else []
        numbers = [float(value) for value in values if is_number(value, 0)]
        if len(numbers) == len(Range.__dataclass_fields__):
            yield figure, Range(*numbers)


def _replayed(run: PastRun, before: Sequence[PastRun]) -> dict[str, Range]:
    """What would have been predicted from the runs before; nothing where the run's request is no request any more."""
    document = run.document
    try:
        request = RunRequest.read(document["request"])
    except CosmicError:
        return {}
    executor, workers = str(document.get("executor")), document.get("workers")
    if executor not in EXECUTORS:
        return {}
    place = place_of(request, executor, workers if isinstance(workers, int) else None)
    model, _ = model_of(before, run.kind, place, parameters=parameters_of_model(request))
    if not model.runs:
        return {}  # shipped measurements are of another machine: they tell nothing about one's own predictions
    samples = tuple(rank.samples for rank in run.ranks)
    warm, place = environments(before, run.kind, run.began_at), as_wide_as_seen(place, before, run.kind)
    found = predict(Configuration(request, place, samples, place.ramps, warm), model, len(samples), runs=_REPLAYS)
    both = {"makespan_s": found.makespan_s, "end_to_end_s": found.end_to_end_s}
    return both | ({} if found.usd is None else {"usd": found.usd})

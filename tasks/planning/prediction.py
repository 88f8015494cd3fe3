"""What a run is expected to take, from many simulated ones."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean, median
from typing import Any

import numpy as np

from tasks.planning.checks import Check, checks
from tasks.planning.simulated_run import Configuration, SimulatedRun, planned_events, simulate_run
from tasks.planning.stages import StageModel

RANKS_IN_ALL = 20_000  # that all simulated runs have together, about: a second or two
FEWEST, MOST = 5, 200  # simulated runs
RANKS_OF_ONE = 50_000  # of a run that is simulated only once, which takes a minute or more
NAMES = {
    "turn": "waiting for its turn",
    "start": "starting its process",
    "load": "loading the model",
    "read": "reading",
    "compute": "computing",
    "write": "writing",
    "rest": "calling and replying",
}
SHARES = (0.05, 0.5, 0.9, 0.95)


@dataclass(frozen=True)
class Range:
    """A prediction: its median, its 90th percentile, and the ends of its 90 % interval."""

    p50: float
    p90: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """The range of simulated values: a next one lies below each limit with the share that it is named for."""
        low, p50, p90, high = map(float, np.quantile(values, SHARES, method="weibull"))
        return cls(p50, p90, low, high)


@dataclass(frozen=True)
class Prediction:
    """What a run is expected to take.

    Attributes:
        executor, ranks, samples: what was simulated, and `runs` how often.
        makespan_s, end_to_end_s: of the run; `usd` its bill, None where no price is known.
        lines: the bill's lines of the median run, USD.
        limit: what limits it, a sentence.
        stages: mean seconds of the rank that ends last, by stage.
        cold_starts: calls that a new process or environment serves, mean of the simulated runs.
        checks: what would fail.
        source: what the times are from, a sentence.
        notes: what a person should know.
    """

    executor: str
    ranks: int
    samples: int
    runs: int
    makespan_s: Range
    end_to_end_s: Range
    usd: Range | None
    lines: Mapping[str, float]
    limit: str
    stages: Mapping[str, float]
    cold_starts: float
    checks: tuple[Check, ...]
    source: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON."""
        return asdict(self)


def predict(
    configuration: Configuration,
    model: StageModel,
    partitions: int,
    notes: Sequence[str] = (),
    seed: int = 0,
    runs: int | None = None,
) -> Prediction:
    """Simulate a run many times.

    Args:
        configuration: what is to run.
        model: what its stages take.
        partitions: that all ranks read together.
        notes: are passed on.
        seed: of the draws.
        runs: how often; default by the number of ranks.
    """
    random, events = Random(seed), planned_events(configuration)  # noqa: S311 - draws times, keeps no secret
    count = runs or min(max(RANKS_IN_ALL // len(events), FEWEST), MOST)
    simulated = [simulate_run(configuration, model, events, random) for _ in range(count)]
    bills = [run.cost.usd for run in simulated if run.cost.usd is not None]
    middle = sorted(simulated, key=lambda run: run.cost.usd or 0.0)[len(simulated) // 2]
    stages = {name: fmean(run.last.get(name, 0.0) for run in simulated) for name in NAMES}
    said = list(notes)
    if warm := configuration.environments.sentence:
        said.append(warm)
    if count == 1:
        said.append(f"one run was simulated, because it has {len(events):,} ranks: P50 and P90 are the same figure")
    elif count < MOST // 10:
        said.append(f"the percentiles are of {count} simulated runs only, because each has {len(events):,} ranks")
    if lost := fmean(run.failed for run in simulated):
        said.append(f"{lost:,.1f} of {len(events):,} ranks are expected to fail for good")
    slowest = float(np.quantile([run.slowest_s for run in simulated], 0.9))
    return Prediction(
        executor=configuration.place.executor,
        ranks=len(events),
        samples=sum(configuration.samples),
        runs=count,
        makespan_s=Range.of([run.makespan_s for run in simulated]),
        end_to_end_s=Range.of([run.end_to_end_s for run in simulated]),
        usd=Range.of(bills) if bills else None,
        lines={item.name: item.usd for item in middle.cost.items if item.usd},
        limit=_limit(configuration, simulated, stages),
        stages=stages,
        cold_starts=fmean(run.cold for run in simulated),
        checks=tuple(checks(configuration, model, slowest, partitions)),
        source=model.source,
        notes=tuple(said),
    )


def _limit(configuration: Configuration, simulated: Sequence[SimulatedRun], stages: Mapping[str, float]) -> str:
    """What the rank that ends last spends most of its time on."""
    place, ranks = configuration.place, len(configuration.samples)
    whole = sum(stages.values()) or 1.0
    slow = fmean(run.slowest_s for run in simulated) - fmean(run.median_s for run in simulated)
    cold = stages["start"] + stages["load"]
    parts = {name: seconds for name, seconds in stages.items() if name not in {"start", "load"}} | {"cold": cold}
    name = max(parts, key=parts.__getitem__)
    share = f"{parts[name] / whole:.0%} of the time until the last rank ends"
    if name == "turn" and ranks > place.concurrency:
        waves = -(-ranks // place.concurrency)
        turns = f"{ranks:,} ranks take {waves:,} turns at {place.concurrency:,} at once"
        return f"The number of ranks at once limits it: {turns}."
    if name == "turn":
        return f"Dispatch limits it: the last rank waits {stages['turn']:.1f} s for its call, {share}."
    if name == "cold":
        return f"Cold starts limit it: process and model take {cold:.1f} s, {share}."
    if slow > 0.5 * whole:
        usual = median([run.median_s for run in simulated])
        return f"The slowest rank limits it: it takes {slow:.1f} s longer than the median rank ({usual:.1f} s)."
    return f"{NAMES[name].capitalize()} limits it: {parts[name]:.1f} s, {share}."

"""The best way to run a request: many configurations, each simulated, and the front of time against cost."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import product
from random import Random
from statistics import median
from typing import Any

from inference.contract.run_request import PRECISIONS, PartitionRequest, RunRequest
from inference.contract.sample import IMAGE_SHAPE, samples_of_size
from inference.errors import BadInput, CosmicError
from inference.storage.store import Store
from tasks.executors.base import cores
from tasks.executors.select import ON_AWS
from tasks.planning.checks import checks
from tasks.planning.foretold import samples_to_be
from tasks.planning.history import PastRun, past_runs
from tasks.planning.planned_run import kind_of, model_of, parameters_of_model, place_of, samples_of_ranks
from tasks.planning.simulated_run import Configuration, planned_events, simulate_run
from tasks.planning.stages import StageModel
from tasks.reporting.formatting import duration, usd
from tasks.staging.known_survey import shape_of_galaxies
from tasks.staging.weights import find_weights
from tasks.sweeps.pareto import on_front

PARTITIONS = ("10MB", "25MB", "50MB", "75MB", "100MB", "200MB", "500MB", "1GB")
MEMORIES_MB = (1_769, 3_538, 5_307, 7_076, 10_240)  # one to four processors of Lambda, and the most there is
AT_ONCE = (100, 300, 1_000)
MOST_RANKS = 5_000  # of a configuration, unless the data set leaves no choice
RANKS_IN_ALL = 150_000  # that are simulated: some ten seconds
FEWEST, MOST = 2, 40  # simulated runs of a configuration


@dataclass(frozen=True)
class Choice:
    """One configuration and what it is expected to take.

    Attributes:
        executor, partition, memory_mb, at_once, precision, backups: the configuration; partition None as they lie
            there.
        ranks: of a run.
        s: end to end, median of the simulated runs; `s_p90` in nine of ten.
        usd, usd_p90: the bill.
        front: no other is expected to be both as fast and as cheap.
    """

    executor: str
    partition: str | None
    memory_mb: int
    at_once: int
    precision: str
    backups: bool
    ranks: int
    s: float
    s_p90: float
    usd: float
    usd_p90: float
    front: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The choice as JSON."""
        return asdict(self)

    def request(self, request: RunRequest) -> dict[str, Any]:
        """The request, changed to this configuration."""
        changes: dict[str, Any] = {"precision": self.precision, "max_concurrency": self.at_once}
        if self.partition is not None and request.partition is not None:
            changes["partition"] = request.partition.model_dump() | {"size": self.partition}
            changes |= {"file_limit": self.ranks, "world_size": None}
        if self.executor in ON_AWS:
            changes |= {"memory_mb": self.memory_mb, "hedging": self.backups if self.executor == "lambda" else None}
        document = request.as_given() | changes
        return {name: value for name, value in document.items() if value is not None}


def configurations(
    request: RunRequest, executor: str, whole: int | None, there: Sequence[int], precisions: Sequence[str]
) -> Iterator[tuple[str | None, Configuration]]:
    """Every configuration that is tried, with its partition size.

    Args:
        request: what all of them share.
        executor: where it would run; on AWS both ways are tried.
        whole: galaxies of the data set where partitions are yet to be made; None where they lie there.
        there: galaxies of each rank where the partitions lie there.
        precisions: of which times are known.
    """
    sizes: Sequence[str | None] = [None] if whole is None else _sizes(whole)
    on_aws = executor in ON_AWS
    executors = ON_AWS if on_aws else (executor,)
    memories = MEMORIES_MB if on_aws else (request.memory_mb,)
    widths = AT_ONCE if on_aws else range(1, cores() + 1)
    for size, where, memory, at_once, precision in product(sizes, executors, memories, widths, precisions):
        samples = tuple(there)
        if size is not None and whole is not None:
            each = min(samples_of_size(size), whole)
            samples = (each,) * math.ceil(whole / each)
        if any(len(samples) <= less < at_once for less in widths):
            continue  # fewer at once run as many
        for hedging in (False, True) if where == "lambda" and request.script is None else (False,):
            changes = {"memory_mb": memory, "max_concurrency": at_once, "precision": precision, "hedging": hedging}
            changed = request.model_copy(update=changes)
            place = place_of(changed, where, at_once if not on_aws else None)
            yield size, Configuration(changed, place, samples, on_aws)


def _sizes(whole: int) -> list[str]:
    few = [size for size in PARTITIONS if whole / samples_of_size(size) <= MOST_RANKS]
    return few or [PARTITIONS[-1]]


def try_all(
    tried: Sequence[tuple[str | None, Configuration]], models: dict[tuple[str, str], StageModel]
) -> list[Choice]:
    """Simulate every configuration; those that would fail are left out, the rest is sorted by its expected time.

    The n-th run of every configuration draws the same luck. Models go by executor and precision.
    """
    every = sum(len(configuration.samples) for _, configuration in tried)
    runs = max(min(RANKS_IN_ALL // max(every, 1), MOST), FEWEST)
    found = []
    for size, each in tried:
        model = models[each.place.executor, each.request.precision]
        events = planned_events(each)
        results = [
            simulate_run(each, model, events, Random(f"0/{number}"))  # noqa: S311 - draws times, keeps no secret
            for number in range(runs)
        ]
        bills = [run.cost.usd for run in results if run.cost.usd is not None]
        slowest = max(run.slowest_s for run in results)
        wrong = [check for check in checks(each, model, slowest, len(each.samples)) if not check.ok]
        if wrong or not bills or any(run.failed for run in results):
            continue
        times = [run.end_to_end_s for run in results]
        choice = Choice(
            each.place.executor,
            size,
            each.place.memory_mb,
            each.place.concurrency,
            each.request.precision,
            backups=bool(each.request.hedging),
            ranks=len(each.samples),
            s=median(times),
            s_p90=_ninth(times),
            usd=median(bills),
            usd_p90=_ninth(bills),
        )
        found.append(choice)
    unlike = {(each.executor, each.partition, each.memory_mb, each.s_p90, each.usd_p90): each for each in found[::-1]}
    found = list(unlike.values())  # backups that none needed make no other configuration
    front = on_front([(each.s, each.usd) for each in found])
    marked = [replace(each, front=best) for each, best in zip(found, front, strict=True)]
    return sorted(marked, key=lambda each: each.s)


def _ninth(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(0.9 * len(ordered)) - 1]


def best_of(
    choices: Sequence[Choice], deadline_s: float | None, budget_usd: float | None, max_cost: float | None = None
) -> Choice:
    """The cheapest within the deadline, or without one the fastest within the budget.

    A limit is met where nine of ten runs meet it. Among those that meet it the expected figure (P50) decides: the P90
    of a few simulated runs is less certain, and says nothing that the limit has not said already.

    Args:
        choices: to choose from.
        deadline_s: seconds that nine of ten runs may take at most.
        budget_usd: that nine of ten runs may cost at most.
        max_cost: of the request, above which `cosmic run` would refuse what was chosen.

    Raises:
        BadInput: nothing meets both; says the nearest that is possible.
    """
    if not choices:
        raise BadInput("no configuration passes its checks: `cosmic plan` without --deadline and --budget names them")
    if max_cost is not None:
        cheapest = min(each.usd_p90 for each in choices)
        choices = [each for each in choices if each.usd_p90 <= max_cost]
        if not choices:
            raise BadInput(f"nothing meets max_cost, ${max_cost:g}: the cheapest costs {usd(cheapest)}")
    in_time = [each for each in choices if deadline_s is None or each.s_p90 <= deadline_s]
    for_money = [each for each in choices if budget_usd is None or each.usd_p90 <= budget_usd]
    both = [each for each in in_time if each in for_money]
    if both:
        return min(
            both, key=(lambda each: (each.usd, each.s)) if deadline_s is not None else lambda each: (each.s, each.usd)
        )
    raise BadInput(f"nothing meets {_limits(deadline_s, budget_usd)}: {_nearest(choices, deadline_s, budget_usd)}")


def _limits(deadline_s: float | None, budget_usd: float | None) -> str:
    limits = [] if deadline_s is None else [f"--deadline {duration(deadline_s)}"]
    return " and ".join([*limits, *([] if budget_usd is None else [f"--budget {budget_usd:g}"])])


def _nearest(choices: Sequence[Choice], deadline_s: float | None, budget_usd: float | None) -> str:
    """What comes nearest to each limit, a clause."""
    said = []
    if deadline_s is not None:
        in_time = [each for each in choices if each.s_p90 <= deadline_s]
        if in_time:
            said.append(f"the cheapest in that time costs {usd(min(each.usd_p90 for each in in_time))}")
        else:
            fastest = min(choices, key=lambda each: each.s_p90)
            said.append(f"the fastest takes {fastest.s_p90:,.1f} s and costs {usd(fastest.usd_p90)}")
    if budget_usd is not None:
        for_money = [each for each in choices if each.usd_p90 <= budget_usd]
        if for_money:
            said.append(f"the fastest for that money takes {min(each.s_p90 for each in for_money):,.1f} s")
        else:
            cheapest = min(choices, key=lambda each: each.usd_p90)
            said.append(f"the cheapest costs {usd(cheapest.usd_p90)} and takes {cheapest.s_p90:,.1f} s")
    return ", and ".join(said)


def all_choices(
    request: RunRequest, store_root: str, executor: str, on_paper: str | None = None
) -> tuple[list[Choice], list[str]]:
    """Every configuration of a request that passes its checks, fastest first, and notes.

    Args:
        request: the checked request.
        store_root: root of the store.
        executor: where it would run; `lambda` and `step-functions` are tried both if either is named.
        on_paper: size of a data set that need not exist.

    Raises:
        BadInput: there are no partitions, no source to make them from, or no model.
        StoreError: the store cannot be read.
    """
    store, there, whole, notes = Store(store_root), tuple[int, ...](), None, list[str]()
    galaxies = IMAGE_SHAPE
    if on_paper is not None:
        whole = samples_of_size(on_paper)
        if request.partition is None:
            request = request.model_copy(update={"partition": PartitionRequest(source="survey.pt", size="25MB")})
    elif request.partition is not None:
        galaxies = shape_of_galaxies(request, store, None)
        whole = sum(samples_to_be(request, galaxies))
    else:
        listing = store.list(request.data_bucket, request.data_prefix)
        galaxies = shape_of_galaxies(request, store, listing)
        there, _ = samples_of_ranks(request, listing, galaxies)
        notes.append("the partitions stay as they lie there: partition in the request, or --data, lets their size vary")
    runs: list[PastRun] = []
    with suppress(CosmicError):
        runs, _ = past_runs(store, request.bucket)
    models: dict[tuple[str, str], StageModel] = {}
    for where, precision in product(ON_AWS if executor in ON_AWS else (executor,), PRECISIONS[request.engine]):
        changed = request.model_copy(update={"precision": precision})
        place = place_of(changed, where, None)
        weights = None if request.script is not None else find_weights(changed, store, galaxies)
        kind = kind_of(changed, store, where, place, weights)
        model, _ = model_of(runs, kind, place, parameters=parameters_of_model(request))
        if model.runs or precision == request.precision:
            models[where, precision] = model
            notes.append(f"{where}, {precision}: times {model.source}")
        else:
            notes.append(f"{where}, {precision}: left out, no earlier run tells its times")
    tried = [
        (size, each)
        for size, each in configurations(request, executor, whole, there, PRECISIONS[request.engine])
        if (each.place.executor, each.request.precision) in models
    ]
    notes.append(f"{len(tried)} configurations were simulated; a limit is met if nine in ten simulated runs meet it")
    return try_all(tried, models), notes

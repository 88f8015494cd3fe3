"""One run in virtual time: the real dispatcher, retries and backups over an executor that draws its times."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from statistics import median
from typing import Any

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from inference.contract.run_request import RunRequest
from inference.runs.plan import event_of
from tasks.billing.cost import Cost, compute_cost
from tasks.dispatch.dispatcher import ATTEMPTS, Dispatcher, Limits
from tasks.dispatch.grouping import ranks_per_task, side_by_side
from tasks.dispatch.rank_group import RETRY_DELAYS_S, RankGroup, RanksFailed
from tasks.invocations.ledger import Ledger
from tasks.planning.environments import NONE, Environments
from tasks.planning.simulated_executor import Place, SimulatedExecutor
from tasks.planning.stages import StageModel, Stages, shared_factor
from tasks.planning.virtual_clock import VirtualClock

TRANSITIONS_OF_RUN, TRANSITIONS_OF_RANK = 3, 2  # of the stack's state machine


@dataclass(frozen=True)
class Configuration:
    """What is simulated.

    Attributes:
        request: of the run.
        place: where its ranks run.
        samples: of each rank.
        on_s3: partitions and results lie on S3, whose requests are billed.
        environments: what earlier runs left warm.
    """

    request: RunRequest
    place: Place
    samples: tuple[int, ...]
    on_s3: bool
    environments: Environments = NONE


@dataclass(frozen=True)
class SimulatedRun:
    """What one simulated run came to.

    Attributes:
        makespan_s: first rank start to last rank end.
        end_to_end_s: of the whole flow.
        cost: the bill.
        failed: ranks that are not done.
        last: seconds of the rank that ended last, by stage, with `turn`, what it waited before it was called.
        median_s: of a rank's call.
        slowest_s: of the longest call.
        backups: calls that were backups.
        refused: calls that were refused and sent again.
        cold: calls that a new process or environment served.
    """

    makespan_s: float
    end_to_end_s: float
    cost: Cost
    failed: int
    last: Mapping[str, float]
    median_s: float
    slowest_s: float
    backups: int
    refused: int
    cold: int


def planned_events(configuration: Configuration) -> list[RankEvent]:
    """A rank event for each rank; only the dispatcher reads them."""
    ranks = len(configuration.samples)
    return [event_of(configuration.request, rank, ranks, ("simulated",)) for rank in range(ranks)]


def simulate_run(
    configuration: Configuration, model: StageModel, events: Sequence[RankEvent], random: Random
) -> SimulatedRun:
    """Simulate one run."""
    place, request, samples = configuration.place, configuration.request, configuration.samples
    clock, ledger = VirtualClock(), Ledger()
    run_factor, speed = shared_factor(random, model.run_spread, model.runs), model.speed(place.processors)

    def draw(event: RankEvent, cold: bool, loaded: bool) -> Stages:
        return model.draw(
            samples[event.rank], cold=cold, loaded=loaded, speed=speed, run_factor=run_factor, random=random
        )

    turns_s = partial(random.choice, random.choice(model.turns_s))  # of one run seen: they are long or short together
    warm = configuration.environments.draw(random)
    executor = SimulatedExecutor(place, draw, clock, random, _ANSWER, model.send_s, warm, turns_s)
    dispatcher = Dispatcher(executor, ledger, events, Limits.of(request, executor, clock), clock=clock)
    size = len(events) if executor.takes_whole_run else ranks_per_task(len(events), request.ranks_per_task)
    groups = [RankGroup(events[start : start + size], dispatcher) for start in range(0, len(events), size)]
    fan_out = _FanOut(groups, dispatcher, clock, random, model.task_run_s * run_factor, turns_s)
    with dispatcher:
        fan_out.start()
        dispatcher.serve(lambda: not fan_out.left)
    ends = executor.ends
    first, last = min((end[1] for end in ends), default=0.0), max(ends, key=lambda end: end[2], default=None)
    makespan = last[2] - first if last else clock.monotonic()
    around = model.around.at(len(samples)) * shared_factor(random, model.around_spread, model.runs)
    took = [end[2] - end[0] for end in ends] or [0.0]
    calls = ledger.invocations
    transitions = TRANSITIONS_OF_RUN + TRANSITIONS_OF_RANK * (len(samples) + executor.repeated)
    counted = len(calls) if configuration.on_s3 else 0
    cost = compute_cost(
        calls,
        region=request.region,
        architecture=request.architecture,
        state_transitions=transitions if executor.takes_whole_run else 0,
        s3_puts=round(model.s3_puts * counted),
        s3_gets=round(model.s3_gets * counted),
    )
    return SimulatedRun(
        makespan_s=makespan,
        end_to_end_s=makespan + around,
        cost=cost,
        failed=len(samples) - len(ledger.done),
        last={} if last is None else {"turn": last[0], **last[3]._asdict()},
        median_s=median(took),
        slowest_s=max(took),
        backups=sum(call.backup for call in calls),
        refused=executor.refused,
        cold=executor.cold,
    )


class _FanOut:
    """Task runs in virtual time: so many side by side, each tried again as the flow's are."""

    def __init__(
        self,
        groups: Sequence[RankGroup],
        dispatcher: Dispatcher,
        clock: VirtualClock,
        random: Random,
        task_run_s: float,
        turn_s: Callable[[], float],
    ) -> None:
        self.left = len(groups)
        self._waiting, self._dispatcher, self._clock, self._random = deque(groups), dispatcher, clock, random
        self._width = side_by_side(len(groups), dispatcher.executor)
        self._task_run_s, self._turn_s, self._free_at = task_run_s, turn_s, 0.0

    def start(self) -> None:
        """Open as many as there may be at once."""
        for _ in range(self._width):
            self._open_next(0.0)

    def _open_next(self, pause_s: float) -> None:
        if self._waiting:
            group = self._waiting.popleft()
            now = self._clock.monotonic()
            self._free_at = max(now, self._free_at) + self._task_run_s
            self._clock.after(self._free_at - now + pause_s, partial(self._run, group, 1))

    def _run(self, group: RankGroup, attempt: int) -> None:
        ended = self._dispatcher.hand_in(group.to_run(attempt))
        ended.add_done_callback(lambda _: self._ended(group, attempt))

    def _ended(self, group: RankGroup, attempt: int) -> None:
        try:
            group.check()
        except RanksFailed as error:
            if error.retryable and attempt < ATTEMPTS:
                pause = RETRY_DELAYS_S[attempt - 1] * (1.0 + self._random.random())
                self._clock.after(pause, partial(self._run, group, attempt + 1))
                return
        self.left -= 1
        self._open_next(self._turn_s())


def _placeholder() -> RankResult:
    """A rank's answer that nobody reads: the dispatcher only asks whether there is one."""
    kinds: dict[str, Any] = {"int": 0, "float": 0.0, "str": "", "bool": False}
    fields = RankResult.__dataclass_fields__.values()
    values = {field.name: kinds.get(getattr(field.type, "__name__", str(field.type)), "") for field in fields}
    return RankResult(**values | {"script_record": None, "world_size": 1, "samples": 1})


_ANSWER = _placeholder()

"""An executor that runs nothing: it draws how long each call takes, and lets virtual time pass."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from inference.contract.rank_event import RankEvent
from inference.contract.rank_result import RankResult
from tasks.executors.base import Call, Executor, NothingRan, measured
from tasks.executors.lambda_limits import full_jitter
from tasks.planning.stages import Stages
from tasks.planning.virtual_clock import VirtualClock

RAMP, RAMP_S = 1_000, 10.0  # new environments of a function in so many seconds (AWS Lambda quotas)
_REFUSED_FOR_S = 900.0  # as the Lambda executor offers a rank
_MACHINE_ATTEMPTS = 9  # of a rank by the state machine: one and eight retries (deployments/aws/stack.yaml)


@dataclass(frozen=True)
class Place:
    """Where simulated ranks run.

    Attributes:
        executor: its name.
        concurrency: calls that may be open at once.
        environments: processes or function environments there can be at once.
        ramps: new environments come at Lambda's rate.
        memory_mb: of the function.
        processors: of a rank.
        timeout_s: after which a call is ended and has failed.
    """

    executor: str
    concurrency: int
    environments: int
    ramps: bool
    memory_mb: int
    processors: float
    timeout_s: float


class _Sending(NamedTuple):
    """How often a call has been tried by the state machine and refused since when."""

    tries: int = 1
    refusals: int = 0
    since: float | None = None


class SimulatedExecutor(Executor):
    """Runs ranks in virtual time.

    Args:
        place: where they would run.
        draw: stages of a call's attempt in a cold environment or not, which holds the model or not.
        clock: virtual.
        random: draws pauses.
        answer: what every call that succeeds returns; nobody reads it.
        send_s: between two calls sent.
        warm: environments that are there, each with whether it holds the model; the last is used first.
        turn_s: draws what a state machine needs between two ranks of its map.
    """

    def __init__(
        self,
        place: Place,
        draw: Callable[[RankEvent, bool, bool], Stages],
        clock: VirtualClock,
        random: Random,
        answer: RankResult,
        send_s: float,
        warm: Sequence[bool] = (),
        turn_s: Callable[[], float] = float,
    ) -> None:
        self.name = place.executor
        self.takes_whole_run = place.executor == "step-functions"
        self.hedging = place.executor == "lambda"
        self.concurrency = 1_000_000 if self.takes_whole_run else place.concurrency
        self.memory_mb = place.memory_mb
        self.ends: list[tuple[float, float, float, Stages]] = []  # called, started, ended, of every call with a result
        self.repeated = 0
        self.refused = 0
        self._place, self._draw, self._clock, self._random = place, draw, clock, random
        self._answer, self._send_s = answer, send_s
        self._free_at = 0.0  # the sender's
        self._idle, self._turn_s = list(warm)[-place.environments :], turn_s
        self._made, self._open, self.cold = len(self._idle), 0, 0
        self._tokens, self._tokens_at = float(RAMP), 0.0
        self._waiting: deque[Call] = deque()
        self._stopped = False

    def submit(self, events: Sequence[RankEvent]) -> list[Call]:
        """Call each, one after the other; a state machine holds back what exceeds its concurrency."""
        calls = [Call(event) for event in events]
        for call in calls:
            self._free_at = max(self._free_at, self._clock.monotonic()) + self._send_s
            if self.takes_whole_run and self._open >= self._place.concurrency:
                self._waiting.append(call)
            else:
                self._open += 1
                self._begin_later(call, self._free_at - self._clock.monotonic(), _Sending())
        return calls

    def stop(self) -> None:
        """Let nothing more begin."""
        self._stopped = True

    def _begin_later(self, call: Call, pause_s: float, sending: _Sending) -> None:
        if pause_s <= 0:
            self._begin(call, sending)
        else:
            self._clock.after(pause_s, lambda: self._begin(call, sending))

    def _begin(self, call: Call, sending: _Sending) -> None:
        if self._stopped:
            return
        now = self._clock.monotonic()
        if self._idle:
            cold, loaded = False, self._idle.pop()
        elif self._made < self._place.environments and self._may_make(now):
            self._made += 1
            self.cold += 1
            cold, loaded = True, False
        else:
            self.refused += 1
            pause = full_jitter(sending.refusals + 1, self._random.random())
            if sending.since is not None and now + pause > sending.since + _REFUSED_FOR_S:
                self._open -= 1
                call.set_exception(NothingRan(f"refused for {_REFUSED_FOR_S:g} s", retryable=True))
                return
            since = now if sending.since is None else sending.since
            self._begin_later(call, pause, sending._replace(refusals=sending.refusals + 1, since=since))
            return
        call.sent_at = now
        stages = self._draw(call.event, cold, loaded)
        lasts, late = stages.total, stages.total > self._place.timeout_s
        if late:
            lasts = self._place.timeout_s
        self._clock.after(lasts, lambda: self._end(call, now, stages, sending.tries, late=late))

    def _may_make(self, now: float) -> bool:
        if not self._place.ramps:
            return True
        self._tokens = min(RAMP, self._tokens + (now - self._tokens_at) * RAMP / RAMP_S)
        self._tokens_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _end(self, call: Call, began: float, stages: Stages, tries: int, *, late: bool) -> None:
        if self._stopped:
            return
        now = self._clock.monotonic()
        self._idle.append(True)
        failed = late or stages.failed
        if failed and self.takes_whole_run and tries < _MACHINE_ATTEMPTS:
            self.repeated += 1
            self._begin_later(call, min(2.0 ** (tries - 1), 60.0) * self._random.random(), _Sending(tries + 1))
            return
        self._open -= 1
        if self._waiting:
            self._open += 1
            self._begin_later(self._waiting.popleft(), self._turn_s(), _Sending())
        error = None if not failed else "ran out of time" if late else "failed, as some attempts do"
        if not failed:
            self.ends.append((began, began + stages.start, now - stages.rest, stages))
        result = None if failed else self._answer
        again = not self.takes_whole_run
        facts = {"cold": stages.start > 0}
        call.set_result(measured(call.event, began, now, self.memory_mb, result, error, retryable=again, **facts))

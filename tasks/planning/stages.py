"""What a rank's stages take: the model that predictions are drawn from."""

import dataclasses
import math
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

VCPU_MB = 1_769  # memory at which a Lambda function has one processor (AWS Lambda documentation)
LEAST_FREEDOM = 3  # degrees of freedom of a spread that few runs tell
_MOST = math.log(30.0)  # of a factor's logarithm: Student's tails have no end


def lambda_processors(memory_mb: int) -> float:
    """Processors that a Lambda function of this memory has.

    >>> round(lambda_processors(10_240), 2), round(lambda_processors(884), 2)
    (5.79, 0.5)
    """
    return memory_mb / VCPU_MB


class Line(NamedTuple):
    """Seconds (or MB) as a straight line: `fixed` and so much for each sample (or rank)."""

    fixed: float
    each: float

    def at(self, count: float) -> float:
        """The value at so many."""
        return self.fixed + self.each * count

    def times(self, factor: float) -> "Line":
        """The line that is so many times as high everywhere."""
        return Line(factor * self.fixed, factor * self.each)


class Stages(NamedTuple):
    """Seconds of one attempt, stage by stage; `failed` says whether it brings no result."""

    start: float
    load: float
    read: float
    compute: float
    write: float
    rest: float
    failed: bool = False

    @property
    def total(self) -> float:
        """From the call to its reply."""
        return self.start + self.load + self.read + self.compute + self.write + self.rest


@dataclass(frozen=True)
class StageModel:
    """Stages of a rank and what surrounds them, as measured somewhere.

    Attributes:
        source: where it comes from, a sentence.
        runs: how many runs it is fitted from; 0 for shipped measurements.
        processors: of a rank, where it was measured.
        parallel: share of computing that more processors speed up (Amdahl).
        start_s, load_s: seconds of each cold start seen: the process or environment, then model and engine.
        read, compute, write: seconds over samples of a warm rank; `rest_s` is what is left of the call.
        factors: by how much each rank seen differs from the line, as a factor with median 1.
        run_spread: standard deviation of the logarithm of the factor that all ranks of a run share.
        task_run_s: seconds that the flow needs to start one task run, one after the other.
        send_s: seconds that the flow needs to send one call.
        around: seconds of end to end outside the makespan, over ranks, and `around_spread` as `run_spread`.
        peak_mb: MB of 1,000,000 bytes over samples.
        failure_rate: share of attempts that fail.
        turns_s: seconds between two ranks of a worker, for each run seen: a busy machine makes all of a run long.
        s3_puts, s3_gets: requests of a rank where partitions and results lie on S3.
    """

    source: str
    runs: int
    processors: float
    parallel: float
    start_s: tuple[float, ...]
    load_s: tuple[float, ...]
    read: Line
    compute: Line
    write: Line
    rest_s: float
    factors: tuple[float, ...]
    run_spread: float
    task_run_s: float
    send_s: float
    around: Line
    around_spread: float
    peak_mb: Line
    failure_rate: float = 0.0
    turns_s: tuple[tuple[float, ...], ...] = ((0.0,),)
    s3_puts: float = 4.0
    s3_gets: float = 6.0

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> "StageModel":
        """A model as `to_dict` wrote it."""
        values: dict[str, Any] = {}
        for name, value in document.items():
            if name in {"read", "compute", "write", "around", "peak_mb"}:
                values[name] = Line(*value)
            else:
                values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON."""
        return dataclasses.asdict(self)

    def slowed(self, times: float) -> "StageModel":
        """The same on a machine where everything takes so many times as long; its source says so."""
        if times == 1.0:
            return self
        what, _, where = self.source.partition(":")
        return dataclasses.replace(
            self,
            source=f"{what}, times {times:.1f} for the speed of this machine now:{where}",
            start_s=tuple(times * seconds for seconds in self.start_s),
            load_s=tuple(times * seconds for seconds in self.load_s),
            turns_s=tuple(tuple(times * seconds for seconds in run) for run in self.turns_s),
            read=self.read.times(times),
            compute=self.compute.times(times),
            write=self.write.times(times),
            around=self.around.times(times),
            rest_s=times * self.rest_s,
            task_run_s=times * self.task_run_s,
            send_s=times * self.send_s,
        )

    def speed(self, processors: float) -> float:
        """How much faster a rank computes with so many processors than where the model was measured.

        Below one processor speed goes with the share; above it the serial part stays.
        """
        return self._speed_of(processors) / self._speed_of(self.processors)

    def _speed_of(self, processors: float) -> float:
        if processors <= 1:
            return processors
        return 1.0 / (1.0 - self.parallel + self.parallel / processors)

    def draw(
        self, samples: int, *, cold: bool, loaded: bool, speed: float, run_factor: float, random: Random
    ) -> Stages:
        """One attempt's stages, drawn.

        Args:
            samples: of the rank.
            cold: a new process or environment serves it.
            loaded: it holds the model already.
            speed: of computing, see `speed`.
            run_factor: that all ranks of the run share.
            random: draws.
        """
        factor = run_factor * random.choice(self.factors)
        slow = run_factor / min(speed, 1.0)  # imports and exports gain nothing from more than they had
        failed = random.random() < self.failure_rate
        return Stages(
            start=random.choice(self.start_s) * run_factor if cold else 0.0,
            load=0.0 if loaded else random.choice(self.load_s) * slow,
            read=self.read.at(samples) * factor,
            compute=self.compute.at(samples) / speed * factor,
            write=self.write.at(samples) * factor,
            rest=self.rest_s,
            failed=failed,
        )


def shared_factor(random: Random, spread: float, runs: int) -> float:
    """A factor that a whole run shares, with median 1.

    Its logarithm follows Student's distribution, because a spread known from few runs may be too small by luck; a
    shipped spread, of no runs, is taken as it is.

    Args:
        random: draws.
        spread: standard deviation of the logarithm.
        runs: that the spread is known from.
    """
    drawn = random.gauss(0.0, spread)
    if runs:
        freedom = max(runs, LEAST_FREEDOM)
        drawn /= math.sqrt(random.gammavariate(freedom / 2, 2 / freedom))
    return math.exp(max(min(drawn, _MOST), -_MOST))

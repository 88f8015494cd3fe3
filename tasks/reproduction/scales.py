"""What a reproduction runs: the same five sweeps at three scales."""

from dataclasses import dataclass
from typing import Any

from tasks.sweeps.local_rates import LOCAL_RATE, SIMULATED_PER_S
from tasks.sweeps.sweep import Sweep

BUCKET = "cosmicai-reproduce"
MODEL = "models/full.safetensors"
SEED = 7
BATCH_SIZES = (32, 64, 128, 256, 512)  # as in the report
PARTITIONS_MB = (25, 50, 75, 100)  # as in the report
_AROUND_S = {"local": 5.0, "lambda": 8.0, "step-functions": 20.0}  # of a run besides its ranks, measured on two cores


@dataclass(frozen=True)
class Scale:
    """How much is run.

    Attributes:
        name: of the scale.
        samples: of the survey.
        factor: partition sizes of the report over ours.
        batch_partition: partition size of the sweep over batch sizes; holds 512 galaxies at least.
        partition_batch: batch size of the sweep over partition sizes.
        data: data sizes of the bill's sweep; None reads all.
        repeats: of local cells.
    """

    name: str
    samples: int
    factor: float
    batch_partition: str
    partition_batch: int
    data: tuple[str | None, ...]
    repeats: int

    @property
    def partitions(self) -> list[str]:
        """Partition sizes, in the order of the report's."""
        return [f"{size / self.factor:g}MB" for size in PARTITIONS_MB]


SCALES = {
    "small": Scale("small", 2556, 10, "12.5MB", 64, ("25MB", "50MB"), 2),
    "report": Scale("report", 52_357, 1, "50MB", 256, ("250MB", "500MB", "1GB"), 3),
    "full": Scale("full", 659_817, 1, "50MB", 256, ("1GB", "4GB", "8GB", "12.6GB"), 3),
}


def sweeps_of(scale: Scale, cores: int) -> dict[str, Sweep]:
    """The sweeps by name, in the order in which they run.

    Args:
        scale: how much.
        cores: of this machine: as many ranks run at once, here and on the emulator, which shares them.
    """
    request = {"bucket": BUCKET, "data_bucket": BUCKET, "model": MODEL, "max_concurrency": cores}
    every = {"request": request, "survey": {"samples": scale.samples, "seed": SEED}, "workers": cores}
    batch, largest = list(BATCH_SIZES), max(BATCH_SIZES)
    axes: dict[str, tuple[str, int, dict[str, Any]]] = {
        "batch-size": (
            "Execution time against batch size, local processes.",
            scale.repeats,
            {"batch_size": batch, "partition_size": scale.batch_partition},
        ),
        "partition-size": (
            "Execution time against partition size, local processes.",
            scale.repeats,
            {"batch_size": scale.partition_batch, "partition_size": scale.partitions},
        ),
        "cost": (
            "Invocations, seconds, memory and cost against partition and data size, Lambda on the emulator.",
            1,
            {"partition_size": scale.partitions, "data_size": list(scale.data), "executor": "lambda"},
        ),
        "local-aws": (
            "Local processes against Lambda on the emulator, on the same cores.",
            scale.repeats,
            {"batch_size": largest, "partition_size": scale.batch_partition, "executor": ["local", "lambda"]},
        ),
        "events": (
            "The events of an execution, Step Functions on the emulator.",
            1,
            {"batch_size": largest, "partition_size": scale.batch_partition, "executor": "step-functions"},
        ),
    }
    return {
        name: Sweep.read(
            {"name": f"reproduce-{name}", "description": what, "axes": point, "repeats": repeats}
            | every
            | {"results": f"results/{name}"}
        )
        for name, (what, repeats, point) in axes.items()
    }


LOCAL = ("batch-size", "partition-size")  # the others need the emulator


def expected_s(sweep: Sweep, cores: int) -> float:
    """Seconds that a sweep of the full-size model is expected to take, the emulator on the same cores."""
    return sum(
        sweep.repeats * (_AROUND_S[cell.executor] + cell.samples / (LOCAL_RATE * cores)) for cell in sweep.cells()
    )


def simulating_s(scale: Scale, cores: int) -> float:
    """Seconds that the survey is expected to take."""
    return scale.samples / (SIMULATED_PER_S * cores)

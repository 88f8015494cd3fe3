"""What would fail although money is spent: looked for before a run."""

from dataclasses import dataclass

from tasks.executors.lambda_limits import ACCOUNT_CONCURRENCY, MAX_PAYLOAD
from tasks.executors.select import ON_AWS
from tasks.planning.simulated_run import Configuration
from tasks.planning.stages import StageModel

_EVENT_BYTES, _KEY_BYTES = 1_200, 120  # of a rank's event without its partitions, and of each of these; rounded up
_MB = 2**20 / 1e6  # MB of 1,000,000 bytes in one of Lambda's


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `ok`, and in one sentence what was found and what to do."""

    name: str
    ok: bool
    says: str


def checks(configuration: Configuration, model: StageModel, slowest_s: float, partitions: int) -> list[Check]:
    """Memory, time limit, payload and quota.

    Args:
        configuration: what is to run.
        model: what it takes.
        slowest_s: of the slowest call, 90th percentile of the simulated runs.
        partitions: that all ranks read together.
    """
    place, largest = configuration.place, max(configuration.samples)
    on_lambda = place.executor in ON_AWS
    found = []
    if on_lambda:
        peak, given = model.peak_mb.at(largest) / _MB, place.memory_mb
        ok = peak <= given
        says = f"a rank is expected to use {peak:,.0f} of {given:,} MB"
        found.append(Check("memory", ok, says if ok else f"{says}: raise memory_mb, or make smaller partitions"))
    ok = slowest_s < place.timeout_s
    says = f"the slowest rank is expected to take {slowest_s:,.1f} s of the {place.timeout_s:g} s it may"
    found.append(Check("time limit", ok, says if ok else f"{says}: make smaller partitions"))
    if on_lambda:
        payload = _EVENT_BYTES + _KEY_BYTES * -(-partitions // len(configuration.samples))
        ok = payload <= MAX_PAYLOAD
        says = f"a rank's event has about {payload / 1e3:,.1f} kB of the {MAX_PAYLOAD / 1e6:g} MB it may"
        found.append(Check("payload", ok, says if ok else f"{says}: use more ranks"))
        ok = place.concurrency <= ACCOUNT_CONCURRENCY
        says = f"ranks that run at once: {min(place.concurrency, len(configuration.samples)):,}"
        more = f": an account's quota is {ACCOUNT_CONCURRENCY:,} unless AWS has raised it"
        found.append(Check("quota", ok, says if ok else says + more))
    return found

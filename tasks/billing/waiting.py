"""What ranks were billed while they waited for messages of one another."""

from collections.abc import Sequence
from typing import Any

from inference.contract.rank_result import RankResult
from tasks.billing.cost import Cost
from tasks.reporting.formatting import usd


def waiting_cost(results: Sequence[RankResult], cost: Cost, memory_mb: int) -> dict[str, Any]:
    """What a gang's waiting came to; {} where no rank waited.

    `waited_s` is what the ranks measured themselves. `barrier_s` is N x slowest - all own seconds, a rank's own being
    its wall-clock seconds less what it waited: the part that would go if all ranks were equally fast. `barrier_usd` is
    that time at the bill's price of compute, None where no price is known.

    Args:
        results: of the finished ranks.
        cost: the bill, whose compute these seconds are a part of.
        memory_mb: of the function, MB of 1,048,576 bytes.
    """
    waited = sum(result.message_wait_s for result in results)
    if not waited:
        return {}
    own = [max(result.wall_total_s - result.message_wait_s, 0.0) for result in results]
    barrier = len(own) * max(own) - sum(own)
    price = cost.items[0].unit_usd
    return {
        "waited_s": waited,
        "barrier_s": barrier,
        "barrier_usd": None if price is None else barrier * memory_mb / 1024 * price,
    }


def sentence(found: dict[str, Any]) -> str:
    """What the waiting came to, for a person."""
    return (
        f"ranks waited {found['waited_s']:.1f} s for messages of one another, as they measured it;"
        f" {found['barrier_s']:.1f} s because others were slower (N x slowest - own), which is"
        f" {usd(found['barrier_usd'])} of the compute"
    )

"""One line of the table that `make bench` prints: a ratio measured in one run, and what it is to reach."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Target:
    """A ratio and its goal.

    Attributes:
        what: the stage of a rank or of a run.
        ratio: median over interleaved turns; `low`, `high` its quartiles over the turns, which are its noise.
        to_reach: the goal; `higher_is_better` says on which side of it the ratio should lie.
        ours, other: what was measured on either side of the ratio, with units.
        floor: the least time (or the best rate) there could be, by what it is measured, and how far off we are.
        note: what limits it where it falls short.
    """

    what: str
    ratio: float
    low: float
    high: float
    to_reach: float
    higher_is_better: bool
    ours: str
    other: str
    floor: str = ""
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the median lies on the right side of the goal."""
        return self.ratio >= self.to_reach if self.higher_is_better else self.ratio <= self.to_reach


def quartiles(ratios: Sequence[float]) -> dict[str, float]:
    """`ratio`, `low` and `high` of a Target, from the ratio of each turn (two at least)."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"ratio": middle, "low": low, "high": high}


_ALIKE = 1e-3  # of a ratio: what hardly varies at all is not worse for its last digits


class NotHere(Exception):
    """A part needs something that is not at hand, a GPU for instance; the message says what."""


def worse(before: Sequence[Target], now: Sequence[Target]) -> list[str]:
    """A line for each ratio that has become worse by more than the noise of both.

    That is: their quartiles do not overlap, and their medians differ by more than a thousandth. Ratios are
    distinguished by `what` they are of; one that is new or has gone is no regression.
    """
    then = {target.what: target for target in before}
    lines = []
    for target in now:
        old = then.get(target.what)
        if old is None or abs(target.ratio - old.ratio) <= _ALIKE * abs(old.ratio):
            continue
        if target.high < old.low if target.higher_is_better else target.low > old.high:
            lines.append(
                f"WORSE than committed: {target.what}: {target.ratio:.3g} ({target.low:.3g} to {target.high:.3g})"
                f" against {old.ratio:.3g} ({old.low:.3g} to {old.high:.3g})"
            )
    return lines

"""Statistics of repeats and of ranks: which values are outliers, how sure a mean is, whether a difference is noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FENCE = 1.5  # interquartile ranges outside the quartiles (contract, "Analysis")


@dataclass(frozen=True)
class Mean:
    """A mean of repeats."""

    mean: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Ratio:
    """A second sample's mean over a first one's.

    Attributes:
        ratio: of the geometric means.
        low, high: its 95 % interval by Welch's t on the logarithms; None where a sample has but one value.
    """

    ratio: float
    low: float | None
    high: float | None

    @property
    def exceeds_noise(self) -> bool:
        """Whether the interval leaves 1 out; False where there is none."""
        return self.low is not None and self.high is not None and not self.low <= 1.0 <= self.high


def without_outliers(values: Sequence[float]) -> np.ndarray:
    """The values within 1.5 interquartile ranges of the quartiles, which are interpolated linearly, in their order.

    >>> without_outliers([1.0, 2.0, 3.0, 4.0, 100.0])
    array([1., 2., 3., 4.])
    """
    found = np.asarray(values, dtype=float)
    if not len(found):
        return found
    first, third = np.percentile(found, (25, 75))
    reach = FENCE * (third - first)
    kept: np.ndarray = found[(found >= first - reach) & (found <= third + reach)]
    return kept


def mean_interval(values: Sequence[float]) -> Mean:
    """The mean and how sure it is.

    >>> interval = mean_interval([9.0, 10.0, 11.0])
    >>> interval.mean, round(interval.low, 2), round(interval.high, 2)
    (10.0, 7.52, 12.48)

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("no values have no mean")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Mean(mean, None, None, 1)
    half = student_t(len(values) - 1) * math.sqrt(_variance(values) / len(values))
    return Mean(mean, mean - half, mean + half, len(values))


def ratio_interval(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """How many times the first sample the second one is.

    >>> slower = ratio_interval([1.0, 1.01, 0.99], [2.0, 2.02, 1.98])
    >>> round(slower.ratio, 3), slower.exceeds_noise
    (2.0, True)

    Args:
        first: positive values.
        second: positive values.

    Raises:
        ValueError: a sample is empty or holds a value that is not positive.
    """
    if not len(first) or not len(second) or min(*first, *second) <= 0:
        raise ValueError("a ratio needs positive values on both sides")
    logs = [[math.log(value) for value in values] for values in (first, second)]
    centre = math.fsum(logs[1]) / len(logs[1]) - math.fsum(logs[0]) / len(logs[0])
    if min(map(len, logs)) == 1:
        return Ratio(_exp(centre), None, None)
    parts = [_variance(values) / len(values) for values in logs]
    spread = math.fsum(parts)
    if spread == 0:
        return Ratio(_exp(centre), _exp(centre), _exp(centre))
    freedom = spread**2 / math.fsum(part**2 / (len(values) - 1) for part, values in zip(parts, logs, strict=True))
    half = student_t(freedom) * math.sqrt(spread)
    return Ratio(_exp(centre), _exp(centre - half), _exp(centre + half))


def student_t(freedom: float) -> float:
    """The two-sided 95 % quantile of Student's t; the degrees of freedom need not be whole.

    >>> round(student_t(1.5), 2)
    6.02
    """
    from scipy.special import stdtrit  # here, because it takes a tenth of a second and few commands need it

    return float(stdtrit(freedom, 0.975))


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _exp(power: float) -> float:
    """The exponential, cut where a float ends: two values each can leave a ratio that unsure."""
    return math.exp(min(power, 700.0))

"""The quantiles that a model gives for each galaxy: which they are, and those at 16, 50 and 84 % from others."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from inference.contract.json_text import parse_json
from inference.contract.validation import is_number, shorten
from inference.engines.columns import LOWER, UPPER
from inference.errors import BadCheckpoint, BadInput

LEVELS_KEY = "quantile_levels"  # of an `.onnx` file's metadata: JSON, the level of each value of the output
_OUTPUTS = {"quantiles", "z_quantiles", "redshift_quantiles"}
_ONE = re.compile(r"(?:z_?|redshift_)?(?:q|quantile_?)_?(16|84)", re.IGNORECASE)


def is_quantiles(output: str) -> bool:
    """Whether an output's name says that it holds several quantiles, whose levels the metadata gives."""
    return output.lower() in _OUTPUTS


def column_of_quantile(output: str) -> str | None:
    """The column of an output that is the 16 or the 84 % quantile, by its name.

    >>> column_of_quantile("q16"), column_of_quantile("z_q84"), column_of_quantile("q05")
    ('z_q16', 'z_q84', None)
    """
    match = _ONE.fullmatch(output)
    return None if match is None else {"16": LOWER, "84": UPPER}[match[1]]


def read_levels(text: str, path: Path) -> tuple[float, ...]:
    """The levels of an `.onnx` file's quantiles.

    Raises:
        BadCheckpoint: they are no ascending numbers between 0 and 1 that reach from 0.16 to 0.84.
    """
    try:
        levels = parse_json(text, "its quantile_levels")
    except BadInput as error:
        raise BadCheckpoint(f"{path}: {error}") from None
    numbers = isinstance(levels, list) and len(levels) > 1 and all(is_number(level, 0, 1) for level in levels)
    ascending = numbers and all(low < high for low, high in zip([0.0, *levels], [*levels, 1.0], strict=True))
    if not (ascending and levels[0] <= 0.16 and levels[-1] >= 0.84):
        raise BadCheckpoint(
            f"{path}: its quantile_levels must be ascending numbers between 0 and 1 that reach from 0.16 or below to"
            f" 0.84 or above, not {shorten(levels)}"
        )
    return tuple(map(float, levels))


def quantile_at(level: float, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """The quantile at another level: linear between two neighbours, in units of a normal distribution's sigma.

    Args:
        level: within the levels.
        quantiles: (B, K).
        levels: of the K, ascending.

    Returns:
        (B,)
    """
    place = min(max(int(np.searchsorted(levels, level)), 1), len(levels) - 1)
    low, at, high = (NormalDist().inv_cdf(each) for each in (levels[place - 1], level, levels[place]))
    share = (at - low) / (high - low)
    found: np.ndarray = (1 - share) * quantiles[:, place - 1] + share * quantiles[:, place]
    return found

"""A monotone cubic through points, as SciPy's PchipInterpolator draws it; SciPy takes half a second to import."""

import numpy as np


class MonotoneCubic:
    """The piecewise cubic of Fritsch & Butland (1984, SIAM J. Sci. Stat. Comput. 5, 300): between points as they go.

    Args:
        x: where the points are, strictly ascending, (N,), N at least 3.
        y: their values, (N,).
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        steps, chords = np.diff(x), np.diff(y) / np.diff(x)
        slopes = np.array([_at_end(steps, chords), *_within(steps, chords), _at_end(steps[::-1], chords[::-1])])
        self._x, self._y, self._slopes = x, y, slopes
        self._squares = (3 * chords - 2 * slopes[:-1] - slopes[1:]) / steps
        self._cubes = (slopes[:-1] + slopes[1:] - 2 * chords) / steps**2

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The values at points within x, of their shape."""
        piece, beyond = self._places(points)
        inner = self._slopes[piece] + beyond * (self._squares[piece] + beyond * self._cubes[piece])
        value: np.ndarray = self._y[piece] + beyond * inner
        return value

    def slope(self, points: np.ndarray) -> np.ndarray:
        """The slopes there; 0 at points outside x."""
        piece, beyond = self._places(points)
        slope = self._slopes[piece] + beyond * (2 * self._squares[piece] + beyond * 3 * self._cubes[piece])
        return np.where((points >= self._x[0]) & (points <= self._x[-1]), slope, 0.0)

    def _places(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """In which piece each point lies, and how far behind the piece's beginning."""
        piece = np.clip(np.searchsorted(self._x, points, side="right") - 1, 0, len(self._x) - 2)
        return piece, points - self._x[piece]


def _within(steps: np.ndarray, chords: np.ndarray) -> np.ndarray:
    """Slopes at the inner points: the weighted harmonic mean of the chords to either side, 0 where they turn."""
    before, after = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    rising = chords[:-1] * chords[1:] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (before + after) / (before / chords[:-1] + after / chords[1:])
    return np.where(rising, mean, 0.0)


def _at_end(steps: np.ndarray, chords: np.ndarray) -> float:
    """The slope at the first point: of the parabola through three points, bounded so that nothing overshoots."""
    slope = float(((2 * steps[0] + steps[1]) * chords[0] - steps[0] * chords[1]) / (steps[0] + steps[1]))
    if slope * chords[0] <= 0:
        return 0.0
    if chords[0] * chords[1] <= 0 and abs(slope) > 3 * abs(chords[0]):
        return float(3 * chords[0])
    return slope

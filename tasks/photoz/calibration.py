"""An uncertainty for each redshift: split-conformal residuals of a model in bins of predicted redshift and magnitude.

The galaxies of a run with known redshift are put into bins that hold about as many each: first by predicted redshift,
then, within each of these, by r magnitude. A bin keeps quantiles of its residuals

    r = (z_spec - z_pred) / (1 + z_pred)

at positions tau * (n + 1) among its n residuals, so that the next galaxy of the bin lies below the quantile tau with
probability tau, whatever the distribution is (Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World":
a Mondrian conformal predictor). Outside the range that was calibrated there is no interval.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.contract.counted import counted
from inference.contract.json_text import parse_json
from inference.contract.plausible import MAGNITUDE, PREDICTION, REDSHIFT
from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.photoz.distribution import LEVELS, density_of, inverse, mode_and_mean, subdivided

BOUNDS = {
    "z_err68_low": 0.15865525,
    "z_err68_high": 0.84134475,
    "z_err95_low": 0.025,
    "z_err95_high": 0.975,
}
FEWEST = 200  # galaxies in a bin: of fewer, the position of a 2.5 % quantile is a guess
# Bins of predicted redshift, and of magnitude in each of them; the first is one global interval.
SHAPES = ((1, 1), (4, 1), (4, 2), (8, 2), (10, 3), (12, 4), (16, 3), (20, 3), (10, 8), (20, 5), (30, 4), (20, 8))
_FORMAT = 1
_FOLDS = 2
_SMALLEST = 1e-9  # between two quantiles, so that the distribution has a density


@dataclass(frozen=True)
class Calibration:
    """How far the redshifts of one model are off.

    Attributes:
        model_sha256: hash of the weights that it belongs to.
        z_edges: ascending edges of the bins of predicted redshift, (Z + 1,).
        mag_edges: ascending edges of the bins of r magnitude in each, (Z, M + 1).
        quantiles: of the residuals of each bin at LEVELS, (Z, M, L), strictly ascending along the last axis.
        galaxies: how many were in each bin, (Z, M).
        made: plain facts about how it was made, by name.
    """

    model_sha256: str
    z_edges: np.ndarray
    mag_edges: np.ndarray
    quantiles: np.ndarray
    galaxies: np.ndarray
    made: Mapping[str, Any]

    def bins(self, z_pred: np.ndarray, mag_r: np.ndarray) -> np.ndarray:
        """Number of each galaxy's bin, (N,), counting through z first; -1 outside the range that was calibrated."""
        z_pred, mag_r = np.asarray(z_pred, np.float64), np.asarray(mag_r, np.float64)
        z_bin = _place(z_pred, self.z_edges)
        mag_bin = np.full(len(z_pred), -1)
        for number, edges in enumerate(self.mag_edges):
            inside = z_bin == number
            mag_bin[inside] = _place(mag_r[inside], edges)
        count = self.mag_edges.shape[1] - 1
        return np.where((z_bin >= 0) & (mag_bin >= 0), z_bin * count + mag_bin, -1)

    def bounds(self, z_pred: np.ndarray, mag_r: np.ndarray) -> dict[str, np.ndarray]:
        """The ends of the 68 and 95 % intervals, absolute redshifts, (N,) each; NaN outside the calibrated range.

        Args:
            z_pred: predicted redshifts, (N,).
            mag_r: r magnitudes, AB, (N,).
        """
        places = [int(np.flatnonzero(np.isclose(LEVELS, level))[0]) for level in BOUNDS.values()]
        scale = 1 + np.asarray(z_pred, np.float64)
        found = self._of_each(z_pred, mag_r, places)
        return {name: z_pred + scale * found[:, column] for column, name in enumerate(BOUNDS)}

    def residual_quantiles(self, z_pred: np.ndarray, mag_r: np.ndarray) -> np.ndarray:
        """The quantiles of r at LEVELS for each galaxy, (N, L); NaN outside the calibrated range."""
        return self._of_each(z_pred, mag_r, slice(None))

    def pdf(self, z_pred: np.ndarray, mag_r: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """The probability density of the redshift at each point of a grid, (N, G); NaN outside the calibrated range.

        Args:
            z_pred: predicted redshifts, (N,).
            mag_r: r magnitudes, AB, (N,).
            grid: redshifts, (G,).
        """
        z_pred = np.asarray(z_pred, np.float64)
        density = np.full((len(z_pred), len(grid)), np.nan)
        bins = self.bins(z_pred, mag_r)
        for number in np.unique(bins[bins >= 0]):
            rows = np.flatnonzero(bins == number)
            scale = 1 + z_pred[rows, None]
            density[rows] = density_of(self.flat[number], (grid - z_pred[rows, None]) / scale) / scale
        return density

    def fine_quantiles(self, z_pred: np.ndarray, mag_r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """More quantiles of p(z) than are kept, for libraries that interpolate between them more coarsely.

        Args:
            z_pred: predicted redshifts, (N,).
            mag_r: r magnitudes, AB, (N,).

        Returns:
            Levels from 0 to 1, (F,), and the redshifts there, (N, F); NaN outside the calibrated range.
        """
        levels = subdivided(LEVELS)
        residuals = np.array([inverse(quantiles, levels) for quantiles in self.flat])
        return levels, self._absolute(z_pred, mag_r, residuals)

    def point_estimates(self, z_pred: np.ndarray, mag_r: np.ndarray) -> dict[str, np.ndarray]:
        """The mode, mean and median of p(z), (N,) each, by these names; NaN outside the calibrated range.

        Args:
            z_pred: predicted redshifts, (N,).
            mag_r: r magnitudes, AB, (N,).
        """
        median = int(np.flatnonzero(LEVELS == 0.5)[0])
        points = np.array([(*mode_and_mean(quantiles), quantiles[median]) for quantiles in self.flat])
        found = self._absolute(z_pred, mag_r, points)
        return {name: found[:, column] for column, name in enumerate(("mode", "mean", "median"))}

    def _absolute(self, z_pred: np.ndarray, mag_r: np.ndarray, residuals: np.ndarray) -> np.ndarray:
        """Redshifts (N, K) for residuals (Z M, K) of each bin; NaN outside the calibrated range."""
        z_pred, bins = np.asarray(z_pred, np.float64)[:, None], self.bins(z_pred, mag_r)
        found: np.ndarray = np.where((bins >= 0)[:, None], z_pred + (1 + z_pred) * residuals[bins], np.nan)
        return found

    @property
    def flat(self) -> np.ndarray:
        """The quantiles by number of the bin, (Z M, L)."""
        return self.quantiles.reshape(-1, len(LEVELS))

    def _of_each(self, z_pred: np.ndarray, mag_r: np.ndarray, levels: Any) -> np.ndarray:
        bins = self.bins(z_pred, mag_r)
        return np.where((bins >= 0)[:, None], self.flat[:, levels][bins], np.nan)

    def to_json(self) -> bytes:
        """The file's bytes; the same calibration gives the same bytes."""
        document = {
            "format": _FORMAT,
            "model_sha256": self.model_sha256,
            "made": dict(self.made),
            "levels": LEVELS.tolist(),
            "z_edges": self.z_edges.tolist(),
            "mag_edges": self.mag_edges.tolist(),
            "galaxies": self.galaxies.tolist(),
            "quantiles": np.round(self.quantiles, 12).tolist(),
        }
        return (json.dumps(document, sort_keys=True) + "\n").encode()

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @classmethod
    def read(cls, content: bytes, where: str, model_sha256: str | None = None) -> "Calibration":
        """Read and check a calibration.

        Args:
            content: the file's bytes.
            where: its place, for messages.
            model_sha256: hash of the model that it must belong to; None takes any.

        Raises:
            BadInput: naming the file: it is damaged, or of another model.
        """
        document = parse_json(content, where)
        try:
            form, model, made = document["format"], document["model_sha256"], document["made"]
            z_edges, mag_edges, quantiles = (
                np.array(document[name], np.float64) for name in ("z_edges", "mag_edges", "quantiles")
            )
            galaxies = np.array(document["galaxies"], np.int64)
            levels = np.array(document["levels"], np.float64)
        except (ValueError, TypeError, KeyError, OverflowError):
            raise BadInput(f"{where} is no calibration: it is damaged; make it again with cosmic calibrate") from None
        if form != _FORMAT or not np.array_equal(levels, LEVELS):
            raise BadInput(f"{where} is a calibration of another version: make it again with cosmic calibrate")
        _check(where, z_edges, mag_edges, quantiles, galaxies, model, made)
        if model_sha256 not in {None, model}:
            raise BadInput(
                f"{where} was made for another model (SHA-256 {shorten(model, 14)} instead of {model_sha256[:12]}):"
                " remove it, or make one for this model with cosmic calibrate"
            )
        return cls(model, z_edges, mag_edges, quantiles, galaxies, made)


def _check(where: str, z_edges: Any, mag_edges: Any, quantiles: Any, galaxies: Any, model: Any, made: Any) -> None:
    bins = galaxies.shape
    shapes_fit = (
        len(bins) == 2
        and min(bins) >= 1
        and z_edges.shape == (bins[0] + 1,)
        and mag_edges.shape == (bins[0], bins[1] + 1)
        and quantiles.shape == (*bins, len(LEVELS))
    )
    ordered = shapes_fit and all((np.diff(values) > 0).all() for values in (z_edges, mag_edges, quantiles))
    finite = shapes_fit and all(np.isfinite(values).all() for values in (z_edges, mag_edges, quantiles))
    if not (ordered and finite and isinstance(model, str) and isinstance(made, dict)):
        raise BadInput(f"{where} is no calibration: its bins do not fit together; make it again with cosmic calibrate")


def _place(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the bin of each value, the last one closed; -1 outside or where there is no value."""
    place: np.ndarray = np.searchsorted(edges, values, side="right") - 1
    place[values == edges[-1]] = len(edges) - 2
    found: np.ndarray = np.where((values >= edges[0]) & (values <= edges[-1]), place, -1)
    return found


def calibrate(
    z_pred: np.ndarray,
    z_spec: np.ndarray,
    mag_r: np.ndarray,
    model_sha256: str,
    made: Mapping[str, Any],
    shapes: Sequence[tuple[int, int]] = SHAPES,
) -> Calibration:
    """Calibrate a model on galaxies that it was not trained on.

    The number of bins is chosen by coverage: of `shapes` the one whose 68 and 95 % intervals, made on one half of the
    galaxies, deviate least on the other half from what they promise, over deciles of predicted redshift and of
    magnitude.

    Args:
        z_pred: predicted redshifts, (N,).
        z_spec: spectroscopic redshifts, (N,).
        mag_r: r magnitudes, AB, (N,).
        model_sha256: hash of the weights.
        made: facts to be kept with the calibration.
        shapes: numbers of bins in redshift and magnitude to choose from, the first of them (1, 1).

    Raises:
        BadInput: fewer than FEWEST galaxies have all three values.
    """
    pred, spec, mag = (np.asarray(values, np.float64).reshape(-1) for values in (z_pred, z_spec, mag_r))
    whole = PREDICTION.measured(pred) & REDSHIFT.measured(spec) & MAGNITUDE.measured(mag)
    pred, spec, mag = pred[whole], spec[whole], mag[whole]
    if len(pred) < FEWEST:
        raise BadInput(
            f"{counted(len(pred), 'galaxy')} with a known redshift and an r magnitude are too few to calibrate with:"
            f" {FEWEST} are needed"
        )
    left_out = int((~whole).sum())
    scores = {
        shape: deviation
        for shape in shapes
        if len(pred) >= FEWEST * shape[0] * shape[1] and (deviation := _deviation(pred, spec, mag, shape)) is not None
    }
    z_edges, mag_edges, quantiles, galaxies = _binned(pred, spec, mag, min(scores, key=lambda shape: scores[shape]))
    facts = {
        "galaxies": len(pred),
        "left_out": left_out,
        "bins": [len(z_edges) - 1, mag_edges.shape[1] - 1],
        "coverage_deviation": {f"{z} x {m}": round(score, 6) for (z, m), score in scores.items()},
        "too_few_galaxies_for": [f"{z} x {m}" for z, m in shapes if (z, m) not in scores],
    }
    return Calibration(model_sha256, z_edges, mag_edges, quantiles, galaxies, dict(made) | facts)


def _deviation(pred: np.ndarray, spec: np.ndarray, mag: np.ndarray, shape: tuple[int, int]) -> float | None:
    """Root mean square of coverage minus level, by two-fold cross-validation; None where a bin holds too few."""
    fold = np.arange(len(pred)) % _FOLDS
    gaps: list[float] = []
    for number in range(_FOLDS):
        made, held = fold != number, fold == number
        there = Calibration("", *_binned(pred[made], spec[made], mag[made], shape), {})
        if shape != (1, 1) and there.galaxies.min() < FEWEST // (2 * _FOLDS):  # many values are alike
            return None
        ends = there.bounds(pred[held], mag[held])
        for level in ("68", "95"):
            inside = (spec[held] >= ends[f"z_err{level}_low"]) & (spec[held] <= ends[f"z_err{level}_high"])
            promised = BOUNDS[f"z_err{level}_high"] - BOUNDS[f"z_err{level}_low"]
            gaps += [inside[part].mean() - promised for values in (pred, mag) for part in deciles(values[held])]
    return float(np.sqrt(np.mean(np.square(gaps))))


def deciles(values: np.ndarray) -> list[np.ndarray]:
    """The rows of each tenth of the galaxies, in the order of a quantity."""
    return [part for part in np.array_split(np.argsort(values, kind="stable"), 10) if len(part)]


def _binned(
    pred: np.ndarray, spec: np.ndarray, mag: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Edges in redshift and magnitude, quantiles of the residuals and galaxies of each bin."""
    residuals = (spec - pred) / (1 + pred)
    z_edges = _edges(pred, shape[0])
    z_bin = _place(pred, z_edges)
    mag_edges, quantiles, galaxies = [], [], []
    for number in range(len(z_edges) - 1):
        inside = z_bin == number
        edges = _edges(mag[inside] if inside.any() else mag, shape[1])
        edges[0], edges[-1] = mag.min(), max(mag.max(), np.nextafter(mag.min(), np.inf))
        mag_bin = _place(mag[inside], edges)
        mag_edges.append(edges)
        parts = [residuals[inside][mag_bin == place] for place in range(len(edges) - 1)]
        quantiles.append([_quantiles(part) for part in parts])
        galaxies.append([len(part) for part in parts])
    return z_edges, np.array(mag_edges), np.array(quantiles), np.array(galaxies)


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Edges of bins that hold as many values each."""
    edges: np.ndarray = np.quantile(values, np.linspace(0, 1, bins + 1))
    for number in range(1, len(edges)):  # equal values would leave a bin without width
        edges[number] = max(edges[number], np.nextafter(edges[number - 1], np.inf))
    return edges


def _quantiles(residuals: np.ndarray) -> np.ndarray:
    steps: np.ndarray = _SMALLEST * np.arange(len(LEVELS))  # so that equal quantiles ascend
    return steps if not len(residuals) else steps + np.quantile(residuals, LEVELS, method="weibull")

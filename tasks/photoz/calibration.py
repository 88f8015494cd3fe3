"""An uncertainty for each redshift: split-conformal residuals of a model in bins of predicted redshift and magnitude.

The galaxies of a run with known redshift are put into bins that hold about as many each: first by predicted redshift,
then, within each of these, by r magnitude. A bin keeps quantiles of its residuals

    r = (z_spec - z_pred) / (1 + z_pred)

Outside the range that was calibrated there is no interval. `tasks.photoz.conformal` makes a calibration.

A model that gives an uncertainty of its own (`tasks.photoz.spread`) may have residuals in units of that instead of
1 + z_pred, where that covers better: its intervals keep the model's own widths, scaled so that they hold (Lei et al.
2018, JASA 113, 1094; for quantiles, Romano, Patterson & Candes 2019, NeurIPS 32).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from inference.contract.json_text import parse_json
from inference.contract.plausible import MAGNITUDE, PREDICTION
from inference.contract.validation import shorten
from inference.errors import BadInput
from tasks.photoz.bins import bin_of
from tasks.photoz.distribution import LEVELS, density_of, halves, inverse, subdivided
from tasks.photoz.spread import usable, widened

BOUNDS = {
    "z_err68_low": 0.15865525,
    "z_err68_high": 0.84134475,
    "z_err95_low": 0.025,
    "z_err95_high": 0.975,
}
_LARGEST = 1e6  # of any redshift, magnitude or residual in the units of one
_FORMAT, _FORMAT_OWN = 1, 3  # the second: residuals in units of the model's own uncertainty
_NORMAL = NormalDist()


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
        own: the residuals are in units of the model's own uncertainty.

    Methods take predicted redshifts `z_pred` and r magnitudes (AB) `mag_r`, (N,) each, and `spread`:
    `tasks.photoz.spread.own_spread` of the galaxies, (N, 2). It counts only if `own`; then a galaxy without one has no
    interval, and without `spread` they raise BadInput.
    """

    model_sha256: str
    z_edges: np.ndarray
    mag_edges: np.ndarray
    quantiles: np.ndarray
    galaxies: np.ndarray
    made: Mapping[str, Any]
    own: bool = False

    @classmethod
    def normal(cls, model_sha256: str) -> "Calibration":
        """What stands for a calibration that is yet to be made: the model's own uncertainty, as a normal one."""
        quantiles = np.clip([_NORMAL.inv_cdf(min(max(level, 1e-9), 1 - 1e-9)) for level in LEVELS], -5, 5)
        made = {"galaxies": 0, "bins": [1, 1], "method": "the model's own uncertainty, not calibrated"}
        z_edges, mag_edges = np.array([PREDICTION.low, PREDICTION.high]), np.array([[MAGNITUDE.low, MAGNITUDE.high]])
        return cls(model_sha256, z_edges, mag_edges, quantiles[None, None], np.zeros((1, 1), int), made, own=True)

    def bins(self, z_pred: np.ndarray, mag_r: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """Number of each galaxy's bin, (N,), counting through z first; -1 outside the range that was calibrated."""
        z_pred, mag_r = np.asarray(z_pred, np.float64), np.asarray(mag_r, np.float64)
        z_bin = bin_of(z_pred, self.z_edges)
        mag_bin = np.full(len(z_pred), -1)
        for number, edges in enumerate(self.mag_edges):
            inside = z_bin == number
            mag_bin[inside] = bin_of(mag_r[inside], edges)
        count = self.mag_edges.shape[1] - 1
        known = (z_bin >= 0) & (mag_bin >= 0) & usable(self.scale(z_pred, spread))
        return np.where(known, z_bin * count + mag_bin, -1)

    def scale(self, z_pred: np.ndarray, spread: np.ndarray | None) -> np.ndarray:
        """What one unit of residual is in redshift, below and above the prediction, (N, 2)."""
        if not self.own:
            return np.repeat(1 + np.asarray(z_pred, np.float64)[:, None], 2, axis=1)
        if spread is None:
            raise BadInput(
                "the calibration is in units of the model's own uncertainty, and these galaxies have none (the column"
                " z_err, or z_q16 and z_q84)"
            )
        return np.asarray(spread, np.float64)

    def bounds(self, z_pred: np.ndarray, mag_r: np.ndarray, spread: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The ends of the 68 and 95 % intervals, absolute redshifts, (N,) each; NaN outside the calibrated range."""
        places = [int(np.flatnonzero(np.isclose(LEVELS, level))[0]) for level in BOUNDS.values()]
        found = self._absolute(z_pred, mag_r, self.flat[:, places], spread)
        return {name: found[:, column] for column, name in enumerate(BOUNDS)}

    def pdf(
        self, z_pred: np.ndarray, mag_r: np.ndarray, grid: np.ndarray, spread: np.ndarray | None = None
    ) -> np.ndarray:
        """The probability density of the redshift at each point of a grid, (N, G); NaN outside the calibrated range."""
        z_pred = np.asarray(z_pred, np.float64)
        density = np.full((len(z_pred), len(grid)), np.nan)
        bins, scales = self.bins(z_pred, mag_r, spread), self.scale(z_pred, spread)
        for number in np.unique(bins[bins >= 0]):
            rows = np.flatnonzero(bins == number)
            away = grid - z_pred[rows, None]
            scale = np.where(away < 0, scales[rows, :1], scales[rows, 1:])
            density[rows] = density_of(self.flat[number], away / scale) / scale
        return density

    def fine_quantiles(
        self, z_pred: np.ndarray, mag_r: np.ndarray, spread: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """More quantiles of p(z) than are kept, for libraries that interpolate between them more coarsely.

        Returns:
            Levels from 0 to 1, (F,), and the redshifts there, (N, F); NaN outside the calibrated range.
        """
        levels = subdivided(LEVELS)
        residuals = np.array([inverse(quantiles, levels) for quantiles in self.flat])
        return levels, self._absolute(z_pred, mag_r, residuals, spread)

    def point_estimates(
        self, z_pred: np.ndarray, mag_r: np.ndarray, spread: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """The mode, mean and median of p(z), (N,) each, by these names; NaN outside the calibrated range."""
        bins, scale = self.bins(z_pred, mag_r, spread), self.scale(z_pred, spread)
        modes, heights, means = map(np.array, zip(*map(halves, self.flat), strict=True))
        higher = (heights[bins] / scale).argmax(axis=1)[:, None]
        mode = np.take_along_axis(self._absolute(z_pred, mag_r, modes, spread), higher, 1)[:, 0]
        mean = np.where(bins >= 0, np.asarray(z_pred, np.float64) + (means[bins] * scale).sum(axis=1), np.nan)
        median = self._absolute(z_pred, mag_r, self.flat[:, LEVELS == 0.5], spread)[:, 0]
        return {"mode": mode, "mean": mean, "median": median}

    def _absolute(
        self, z_pred: np.ndarray, mag_r: np.ndarray, residuals: np.ndarray, spread: np.ndarray | None
    ) -> np.ndarray:
        """Redshifts (N, K) for residuals (Z M, K) of each bin; NaN outside the calibrated range."""
        z_pred, bins = np.asarray(z_pred, np.float64), self.bins(z_pred, mag_r, spread)
        found: np.ndarray = z_pred[:, None] + widened(residuals[bins], self.scale(z_pred, spread))
        return np.where((bins >= 0)[:, None], found, np.nan)

    @property
    def flat(self) -> np.ndarray:
        """The quantiles by number of the bin, (Z M, L)."""
        return self.quantiles.reshape(-1, len(LEVELS))

    def to_json(self) -> bytes:
        """The file's bytes; the same calibration gives the same bytes."""
        document = {
            "format": _FORMAT_OWN if self.own else _FORMAT,
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
        if form not in (_FORMAT, _FORMAT_OWN) or not np.array_equal(levels, LEVELS):
            raise BadInput(f"{where} is a calibration of another version: make it again with cosmic calibrate")
        _check(where, z_edges, mag_edges, quantiles, galaxies, model, made)
        if model_sha256 not in {None, model}:
            raise BadInput(
                f"{where} was made for another model (SHA-256 {shorten(model, 14)} instead of {model_sha256[:12]}):"
                " remove it, or make one for this model with cosmic calibrate"
            )
        return cls(model, z_edges, mag_edges, quantiles, galaxies, made, form == _FORMAT_OWN)


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
    finite = shapes_fit and all((np.abs(values) <= _LARGEST).all() for values in (z_edges, mag_edges, quantiles))
    if not (ordered and finite and (galaxies >= 0).all() and isinstance(model, str) and isinstance(made, dict)):
        raise BadInput(f"{where} is no calibration: its bins do not fit together; make it again with cosmic calibrate")

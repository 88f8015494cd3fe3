"""Makes a calibration of galaxies with known redshift: a conformal predictor whose bins are chosen by coverage.

A bin keeps quantiles at positions tau * (n + 1) among its n residuals, so that the next galaxy of the bin lies below
the quantile tau with probability tau, whatever the distribution is (Vovk, Gammerman & Shafer 2005, "Algorithmic
Learning in a Random World": a Mondrian conformal predictor).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from inference.contract.counted import counted
from inference.contract.plausible import MAGNITUDE, PREDICTION, REDSHIFT
from inference.errors import BadInput
from tasks.photoz.bins import binned, deciles
from tasks.photoz.calibration import BOUNDS, Calibration
from tasks.photoz.magnitude import with_article
from tasks.photoz.spread import residuals_of, usable

FEWEST = 200  # galaxies in a bin: of fewer, the position of a 2.5 % quantile is a guess
# Bins of predicted redshift, and of magnitude in each of them; the first is one global interval.
SHAPES = ((1, 1), (4, 1), (4, 2), (8, 2), (10, 3), (12, 4), (16, 3), (20, 3), (10, 8), (20, 5), (30, 4), (20, 8))
_FOLDS = 2


def calibrate(
    z_pred: np.ndarray,
    z_spec: np.ndarray,
    mag_r: np.ndarray,
    model_sha256: str,
    made: Mapping[str, Any],
    shapes: Sequence[tuple[int, int]] = SHAPES,
    spread: np.ndarray | None = None,
) -> Calibration:
    """Calibrate a model on galaxies that it was not trained on.

    The number of bins is chosen by coverage: of `shapes` the one whose 68 and 95 % intervals, made on one half of the
    galaxies, deviate least on the other half from what they promise, over deciles of predicted redshift and of
    magnitude. Where the model gives an uncertainty of its own, deciles of that count, too, and whether the residuals
    are in its units is chosen in the same way.

    Args:
        z_pred: predicted redshifts, (N,).
        z_spec: spectroscopic redshifts, (N,).
        mag_r: r magnitudes, AB, (N,).
        model_sha256: hash of the weights.
        made: facts to be kept with the calibration.
        shapes: numbers of bins in redshift and magnitude to choose from, the first of them (1, 1).
        spread: the model's own uncertainty below and above, (N, 2); one that most galaxies lack is left out.

    Raises:
        BadInput: fewer than FEWEST galaxies have all values.
    """
    pred, spec, mag = (np.asarray(values, np.float64).reshape(-1) for values in (z_pred, z_spec, mag_r))
    whole = PREDICTION.measured(pred) & REDSHIFT.measured(spec) & MAGNITUDE.measured(mag)
    with_own = spread is not None and (whole & usable(spread)).sum() >= max(FEWEST, whole.sum() / 2)
    own = np.asarray(spread, np.float64) if spread is not None and with_own else np.zeros((len(pred), 0))
    whole &= usable(own)
    rows = _Galaxies(pred[whole], spec[whole], mag[whole], own[whole])
    if (left := len(rows.pred)) < FEWEST:
        raise BadInput(
            f"{counted(left, 'galaxy')} with a known redshift and {with_article(made.get('magnitude', 'r'))} are too"
            f" few to calibrate with: {FEWEST} are needed"
        )
    scores = {
        (shape, scaled): deviation
        for scaled in ((False, True) if with_own else (False,))
        for shape in shapes
        if len(rows.pred) >= FEWEST * shape[0] * shape[1] and (deviation := _deviation(rows, shape, scaled)) is not None
    }
    shape, scaled = min(scores, key=lambda choice: scores[choice])
    tried = {shape for shape, _ in scores}
    facts = {
        "galaxies": len(rows.pred),
        "left_out": int((~whole).sum()),
        "coverage_deviation": {
            f"{z} x {m}{', own' if scaled else ''}": round(score, 6) for ((z, m), scaled), score in scores.items()
        },
        "too_few_galaxies_for": [f"{z} x {m}" for z, m in shapes if (z, m) not in tried],
    }
    found = _made(rows, shape, scaled)
    bins = list(found.galaxies.shape)
    return replace(found, model_sha256=model_sha256, made=dict(made) | facts | {"bins": bins})


class _Galaxies(NamedTuple):
    """Predicted and spectroscopic redshifts and r magnitudes, (N,); the model's own uncertainty, (N, 2) or (N, 0)."""

    pred: np.ndarray
    spec: np.ndarray
    mag: np.ndarray
    own: np.ndarray

    def of(self, chosen: np.ndarray) -> "_Galaxies":
        return _Galaxies(*(values[chosen] for values in self))


def _made(rows: _Galaxies, shape: tuple[int, int], scaled: bool) -> Calibration:
    """The calibration with these bins, with residuals in units of the model's own uncertainty or of 1 + z_pred."""
    scale = rows.own if scaled else np.repeat(1 + rows.pred[:, None], 2, axis=1)
    residuals = residuals_of(rows.spec - rows.pred, scale)
    return Calibration("", *binned(rows.pred, residuals, rows.mag, shape), {}, scaled)


def _deviation(rows: _Galaxies, shape: tuple[int, int], scaled: bool) -> float | None:
    """Root mean square of coverage minus level, by two-fold cross-validation; None where a bin holds too few."""
    fold = np.arange(len(rows.pred)) % _FOLDS
    gaps: list[float] = []
    for number in range(_FOLDS):
        held, there = rows.of(fold == number), _made(rows.of(fold != number), shape, scaled)
        if shape != (1, 1) and there.galaxies.min() < FEWEST // (2 * _FOLDS):  # many values are alike
            return None
        ends = there.bounds(held.pred, held.mag, held.own)
        quantities = [held.pred, held.mag, *([held.own.sum(axis=1)] if held.own.size else [])]
        for level in ("68", "95"):
            inside = (held.spec >= ends[f"z_err{level}_low"]) & (held.spec <= ends[f"z_err{level}_high"])
            promised = BOUNDS[f"z_err{level}_high"] - BOUNDS[f"z_err{level}_low"]
            gaps += [inside[part].mean() - promised for values in quantities for part in deciles(values)]
    return float(np.sqrt(np.mean(np.square(gaps))))

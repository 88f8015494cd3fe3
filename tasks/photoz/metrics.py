"""How good redshifts are: the point metrics of the photo-z literature."""

import numpy as np

from inference.contract.plausible import PREDICTION, REDSHIFT
from inference.errors import BadInput

NMAD_FACTOR = 1.48  # median deviation of a Gaussian -> its standard deviation (1.4826), as rounded
EXACT_NMAD_FACTOR = 1.4826  # 1 / the 75 % quantile of the normal distribution, to four decimals
OUTLIER = 0.15  # abs(delta) beyond which a redshift is an outlier (Hildebrandt et al. 2010, A&A 523, A31)
GAUSSIAN_IQR = 1.349  # interquartile range of a Gaussian over its standard deviation, as RAIL rounds it
_SAME = 1e-9  # redshifts closer than 0.3 m/s; their variance would be rounding
_CENTRAL_68 = (0.15865525, 0.84134475)  # one sigma of a Gaussian to either side of its mean


def photoz_metrics(z_pred: np.ndarray, z_spec: np.ndarray) -> dict[str, float | None] | None:
    """Compare predicted with spectroscopic redshifts.

    With d = z_pred - z_spec and delta = d / (1 + z_spec):

    - mae, mse: mean of abs(d) and of d squared.
    - bias: mean of delta.
    - nmad: 1.48 x median of abs(delta - median(delta)), the scatter about the median. Brammer et al.
      (2008, ApJ 686, 1503) subtract the median before they normalize, here it is done after.
    - nmad_14826: the same with the factor 1.4826, the consistent one for a Gaussian (Maronna, Martin & Yohai
      2006, "Robust Statistics"); 0.18 % more.
    - sigma68: half the width of the interval that holds the central 68.27 % of delta; the scatter of the
      core and the wings, as Carrasco Kind & Brunner (2013, MNRAS 432, 1483) use it.
    - precision: 1.48 x median of abs(delta), the scatter about zero, as Ilbert et al. (2006, A&A
      457, 841) have it and the replaced system defined its figure (contract, "Published quality").
      The two differ where a model is biased.
    - r2: 1 - sum of d squared / sum of squares of z_spec about its mean; None where all are alike.
    - outlier_fraction, outlier_fraction_005: share with abs(delta) above 0.15 (Hildebrandt et al. 2010,
      A&A 523, A31) and above 0.05.
    - samples: galaxies that were compared.
    - bias_median, sigma_iqr, outlier_fraction_rail: what RAIL calls bias, sigma_IQR and outlier rate (LSST DESC,
      rail.evaluation): median of delta, interquartile range of delta over 1.349, and the share with abs(delta) above
      max(0.06, 3 sigma_iqr).
    - unknown, unpredicted: galaxies left out because their spectroscopic redshift is unknown, and those with one whose
      prediction is missing or implausible.

    >>> metrics = photoz_metrics(np.array([0.11, 0.52, 0.30, -99.0]), np.array([0.10, 0.50, -9999.0, 0.2]))
    >>> metrics["samples"], metrics["unknown"], metrics["unpredicted"], round(metrics["bias"], 4)
    (2, 1, 1, 0.0112)

    Args:
        z_pred: predicted redshifts, (N,) or (N, 1).
        z_spec: spectroscopic redshifts, (N,) or (N, 1).

    Left out are the values that `inference.contract.plausible` does not take for measured: catalogues write -9999.

    Returns:
        The metrics by name, or None where no galaxy has both.

    Raises:
        BadInput: the two differ in length.
    """
    pred, spec, used = compared(z_pred, z_spec)
    if not len(spec):
        return None
    unknown = int(np.sum(~REDSHIFT.measured(z_spec)))
    counts = {"samples": len(spec), "unknown": unknown, "unpredicted": len(used) - len(spec) - unknown}
    return point_metrics(pred, spec) | counts


def compared(z_pred: np.ndarray, z_spec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both as float64 where both are measured, (M,), and which rows those are, (N,).

    Raises:
        BadInput: the two differ in length.
    """
    pred, spec = (np.asarray(z, dtype=np.float64).reshape(-1) for z in (z_pred, z_spec))
    if len(pred) != len(spec):
        raise BadInput(f"{len(pred)} predictions cannot be compared with {len(spec)} redshifts")
    used = PREDICTION.measured(pred) & REDSHIFT.measured(spec)
    return pred[used], spec[used], used


def point_metrics(pred: np.ndarray, spec: np.ndarray) -> dict[str, float | None]:
    """The metrics of `photoz_metrics` but for its counts, of redshifts that are all known: (N,), N at least 1."""
    metrics = metrics_of_samples(pred[None], spec[None])
    return {name: None if np.isnan(values[0]) else float(values[0]) for name, values in metrics.items()}


def metrics_of_samples(pred: np.ndarray, spec: np.ndarray) -> dict[str, np.ndarray]:
    """The same of many samples at once: (S, N) each, and (S,) of each metric, NaN where r2 is not known."""
    error = pred - spec
    delta = error / (1 + spec)
    absolute = np.abs(delta)
    mse = np.mean(error**2, axis=1)
    # A galaxy counted twice is no news: hence the method.
    low, high = np.quantile(delta, _CENTRAL_68, method="averaged_inverted_cdf", axis=1)
    median = np.median(delta, axis=1)
    deviation = np.median(np.abs(delta - median[:, None]), axis=1)
    third, first = np.quantile(delta, (0.75, 0.25), axis=1)
    iqr = (third - first) / GAUSSIAN_IQR
    alike = np.ptp(spec, axis=1) <= _SAME
    return {
        "mae": np.mean(np.abs(error), axis=1),
        "mse": mse,
        "bias": np.mean(delta, axis=1),
        "nmad": NMAD_FACTOR * deviation,
        "nmad_14826": EXACT_NMAD_FACTOR * deviation,
        "sigma68": (high - low) / 2,
        "precision": NMAD_FACTOR * np.median(absolute, axis=1),
        "r2": np.where(alike, np.nan, 1 - mse / np.where(alike, 1.0, np.var(spec, axis=1))),
        "outlier_fraction": np.mean(absolute > OUTLIER, axis=1),
        "outlier_fraction_005": np.mean(absolute > 0.05, axis=1),
        "bias_median": median,
        "sigma_iqr": iqr,
        "outlier_fraction_rail": np.mean(absolute > np.maximum(0.06, 3 * iqr)[:, None], axis=1),
    }

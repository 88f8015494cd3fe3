"""The calibration that a training makes by itself: of its validation galaxies, measured on its test galaxies."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from inference.contract.counted import counted
from tasks.photoz.calibration import Calibration
from tasks.photoz.conformal import FEWEST, calibrate
from tasks.photoz.magnitude import fact_of
from tasks.photoz.scores import has_intervals, interval_scores
from tasks.photoz.spread import own_spread
from tasks.reporting.formatting import number, percent
from tasks.training.loop import HeldOut, Trained


def validation_calibration(trained: Trained, model_sha256: str, data: str) -> Calibration | None:
    """The calibration of a model by the galaxies that it was validated with.

    The residuals are those of the model in single precision. For its weights in half precision they are the same to
    a hundredth of their spread.

    Args:
        trained: the outcome; the validation chose nothing of it.
        model_sha256: hash of the file of weights that the calibration is to belong to.
        data: the name of the galaxies.

    Returns:
        None where fewer than FEWEST galaxies were kept for validation.
    """
    if len(trained.validation.z_pred) < FEWEST:
        return None
    held = trained.validation
    made = {"data": f"the galaxies kept for validation of {data}"}
    made |= fact_of(trained.training_data.magnitude_column)
    return calibrate(held.z_pred, held.z_spec, held.mag_r, model_sha256, made, spread=own_spread(held.columns()))


def interval_quality(calibration: Calibration | None, test: HeldOut) -> dict[str, Any] | None:
    """How well the intervals hold on galaxies that the calibration was not made of.

    Returns:
        The calibration's galaxies and bins, with `tasks.photoz.scores.interval_scores`; None without a calibration.
    """
    if calibration is None:
        return None
    rows = pd.DataFrame(test.columns())
    rows = rows.assign(**calibration.bounds(test.z_pred, test.mag_r, own_spread(rows)))
    facts = {name: calibration.made[name] for name in ("galaxies", "bins", "magnitude") if name in calibration.made}
    return facts | (interval_scores(rows, calibration) if has_intervals(rows) else {})


def uncertainty_text(uncertainty: Mapping[str, Any] | None, validation: int) -> str:
    """What the card says of the intervals.

    Args:
        uncertainty: of `measured`.
        validation: how many galaxies were kept for validation.
    """
    if uncertainty is None:
        return (
            f"None: {counted(validation, 'galaxy was', 'galaxies were')} kept for validation, and {FEWEST} are"
            f" needed to"
            f" calibrate with. A run"
            " over other galaxies of known redshift gives one (`cosmic calibrate`)."
        )
    z_bins, mag_bins = uncertainty["bins"]
    made = (
        f"The intervals were calibrated on {counted(uncertainty['galaxies'], 'galaxy')} kept for validation, in"
        f" {counted(z_bins, 'bin')} of redshift with {mag_bins} of"
        f" {uncertainty.get('magnitude', 'r')} magnitude each."
    )
    if "coverage_68" not in uncertainty:
        return f"{made} No test galaxy lies in their range."
    return (
        f"{made} Of the {uncertainty['with_interval']:,} test galaxies in their range,"
        f" {percent(uncertainty['coverage_68'])} lie in the 68 % interval and {percent(uncertainty['coverage_95'])} in"
        f" the 95 % interval (promised are 68.27 and 95 %); CRPS {number(uncertainty['crps'], digits=4)}. They do not"
        " cover a change of survey."
    )

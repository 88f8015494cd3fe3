"""Where a run's redshifts may be believed: what their model was trained on, and what their intervals do not cover."""

from collections.abc import Mapping
from typing import Any

from inference.contract.survey_facts import SurveyFacts
from inference.errors import BadInput
from inference.model.training_data import REDSHIFT, TrainingData
from tasks.reporting.formatting import number

_NOT_COVERED = (
    "They do not cover a change of survey: of depth, seeing, pixel scale, filters or selection. Calibrate again there"
    " (cosmic calibrate); docs/redshifts.md measures what such changes do to the demo model."
)


def model_limits(summary: Mapping[str, Any]) -> list[str]:
    """The limits of a run's model, as sentences for the report; none for a run of a script.

    Args:
        summary: the run's document; `trained_on` is `TrainingData.to_dict` where the model says it.
    """
    if not summary.get("model"):
        return []
    return [_trained(summary.get("trained_on")), _intervals(summary.get("calibration"))]


def _trained(facts: Mapping[str, Any] | None) -> str:
    try:
        known = TrainingData.from_dict(facts) if facts else None
    except BadInput:
        known = None
    if known is None:
        return (
            "The model does not say what it was trained on, so nobody can tell which galaxies it may be believed for."
        )
    parts = [f"in {' '.join(known.bands)}"] if known.bands else []
    parts += [f"with pixels of {known.pixel_scale:.4g} arcseconds"] if known.pixel_scale else []
    parts += [f"in {known.pixel_unit}"] if known.pixel_unit else []
    ranges = [
        f"{what} {number(known.ranges[name][0])} to {number(known.ranges[name][1])}"
        for what, name in (("redshift", REDSHIFT), (_magnitude(known), f"magnitude {known.reference_band + 1}"))
        if name in known.ranges
    ]
    within = f", {' and '.join(ranges)} (99.9 % of them)" if ranges else ""
    of = " ".join(["galaxies", *parts])
    return f"The model was trained on {of}{within}. It may be believed for galaxies like those alone."


def _magnitude(facts: SurveyFacts) -> str:
    return f"{facts.bands[facts.reference_band]} magnitude" if facts.bands else "magnitude"


def _intervals(calibration: Mapping[str, Any] | None) -> str:
    made = (calibration or {}).get("made") or {}
    if not calibration:
        return "The redshifts have no intervals: cosmic calibrate makes them from galaxies of known redshift."
    if not made.get("galaxies"):
        return f"The intervals are the model's own, and nobody has checked them. {_NOT_COVERED}"
    data = f" of {made['data']}" if made.get("data") else ""
    return f"The intervals hold for galaxies like the {made['galaxies']:,}{data} that calibrated them. {_NOT_COVERED}"

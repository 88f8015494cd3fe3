"""What a reader of a run's intervals should know of the calibration that they come from."""

from collections.abc import Mapping
from typing import Any

from inference.contract.counted import counted
from tasks.photoz.calibration import Calibration


def calibration_notes(calibration: Calibration, request: Mapping[str, Any], outside: int) -> list[str]:
    """Sentences for the report and the terminal.

    Args:
        calibration: of the run's model.
        request: the run's, as a document.
        outside: objects without an interval.
    """
    made, notes = calibration.made, []
    if calibration.own and not made["galaxies"]:
        notes.append(
            "the intervals are the model's own uncertainty, taken as a normal distribution, and nobody has checked"
            " them: cosmic calibrate does, on galaxies of known redshift"
        )
    if outside:
        notes.append(
            f"no interval for {counted(outside, 'object')} outside the redshifts and magnitudes that the model's"
            " calibration has seen"
        )
    data = f"{request.get('data_bucket')}/{request.get('data_prefix')}"
    if made.get("data") == data:
        notes.append(
            f"the calibration was made from a run over {data}, too: how well the intervals hold here says little of"
            " other galaxies"
        )
    precision, own = made.get("precision"), request.get("precision", "float32")
    if precision is not None and precision != own:
        notes.append(f"the calibration was made from a run in {precision}, and this run is in {own}")
    return notes

"""What the demo weights are worth where a survey differs: `python -m tasks.training.demo_limits` measures it.

The same simulated galaxies are observed as those of the training, and with one condition changed. Nothing is trained or
calibrated anew, so the table shows what the model card's "not for other surveys" amounts to.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from inference.contract.object_keys import calibration_key
from inference.contract.sample import R_BAND
from inference.model.checkpoint import load, read_header
from tasks.photoz.calibration import Calibration
from tasks.photoz.metrics import photoz_metrics
from tasks.photoz.scores import covered
from tasks.reporting.formatting import markdown_table, percent
from tasks.simulation.survey import AS_TRAINED, Conditions, Survey, simulate
from tasks.training.demo_weights import SURVEY_SEED, WEIGHTS
from tasks.training.measured_section import write_section

GALAXIES, SEED = 5_000, SURVEY_SEED + 3
DOCS = Path("docs/redshifts.md")
CASES: Mapping[str, Conditions] = {
    "as in training": AS_TRAINED,
    'pixels of 0.262"': Conditions(pixel=0.262),
    'pixels of 0.5"': Conditions(pixel=0.5),
    'seeing of 0.8"': Conditions(seeing=0.8),
    'seeing of 1.6"': Conditions(seeing=1.6),
    "1 magnitude deeper": Conditions(shallower=-1.0),
    "1 magnitude shallower": Conditions(shallower=1.0),
    "2 magnitudes shallower": Conditions(shallower=2.0),
}
_BEGIN, _END = "<!-- measured: python -m tasks.training.demo_limits -->", "<!-- end of the limits -->"
_BATCH = 250


def scored(survey: Survey) -> dict[str, float]:
    """What the demo weights and their calibration say of a survey.

    Returns:
        nmad, bias and outlier_fraction_005 (`tasks.photoz.metrics`); coverage_68 and coverage_95 of the galaxies that
        get an interval; without, the share that gets none; flagged, the share that lies outside the training's ranges.
    """
    model, calibration = load(WEIGHTS), _calibration()
    with torch.inference_mode():
        parts = [
            model(
                torch.from_numpy(survey.images[start : start + _BATCH]),
                torch.from_numpy(survey.magnitudes[start : start + _BATCH]).float(),
            ).numpy()[:, 0]
            for start in range(0, len(survey.redshifts), _BATCH)
        ]
    z_pred = np.concatenate(parts)
    mag_r = survey.magnitudes[:, R_BAND]
    rows = pd.DataFrame({"z_pred": z_pred, "z_spec": survey.redshifts, "mag_r": mag_r})
    inside = covered(rows.assign(**calibration.bounds(z_pred, mag_r)))
    metrics = photoz_metrics(z_pred, survey.redshifts) or {}
    known = read_header(WEIGHTS)[1]
    assert known is not None  # noqa: S101 - these weights say what they were trained on
    found = {name: float(metrics[name] or 0.0) for name in ("nmad", "bias", "outlier_fraction_005")}
    found |= {f"coverage_{level}": float(np.nanmean(values)) for level, values in inside.items()}
    found["without"] = float(np.isnan(inside["68"]).mean())
    found["flagged"] = float(known.out_of_domain(survey.images, survey.magnitudes, z_pred).mean())
    return found


def table(cases: Mapping[str, Mapping[str, float]]) -> str:
    """The cases as a Markdown table."""
    titles = ("Observed", "NMAD", "Bias", "Beyond 0.05", "68 % covers", "95 % covers", "No interval", "Out of domain")
    shares = ("outlier_fraction_005", "coverage_68", "coverage_95", "without", "flagged")
    rows = [
        (name, f"{of['nmad']:.4f}", f"{of['bias']:+.4f}", *(percent(of[share]) for share in shares))
        for name, of in cases.items()
    ]
    return markdown_table(titles, rows)


def _calibration() -> Calibration:
    path = WEIGHTS.with_name(calibration_key(WEIGHTS.name))
    return Calibration.read(path.read_bytes(), str(path))


def main() -> int:
    """Simulate each case, score it, write the table."""
    parser = argparse.ArgumentParser(prog="python -m tasks.training.demo_limits")
    parser.add_argument("--samples", type=int, default=GALAXIES, help="galaxies (default %(default)s)")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the page that gets the table (default %(default)s)")
    arguments = parser.parse_args()
    cases = {
        name: scored(simulate(arguments.samples, SEED, conditions=conditions)) for name, conditions in CASES.items()
    }
    text = (
        f"The same {arguments.samples:,} galaxies of `cosmic simulate` (seed {SEED}), which training and calibration"
        f" have not seen, with one condition changed (`--pixel-scale`, `--seeing`, `--shallower`):\n\n{table(cases)}"
    )
    write_section(arguments.docs, _BEGIN, _END, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The calibrations of the weights that come with the project, made and measured on simulated surveys.

`python -m tasks.training.demo_calibration` makes the demo weights' one; with `--weights` and `--docs`, that of others
trained on `cosmic simulate`. Neither training nor the model card has seen the galaxies of either survey.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from inference.contract.object_keys import calibration_key
from inference.contract.sample import R_BAND
from inference.model.checkpoint import content_hash, load
from tasks.photoz.bins import deciles
from tasks.photoz.calibration import Calibration
from tasks.photoz.conformal import SHAPES, calibrate
from tasks.photoz.plots import pit_histogram
from tasks.photoz.scores import PROMISED, covered, interval_scores, score
from tasks.reporting.formatting import markdown_table, number, percent
from tasks.simulation.survey import simulate
from tasks.training.demo_weights import SURVEY_SEED, WEIGHTS
from tasks.training.measured_section import write_section

MADE_ON, MEASURED_ON = 40_000, 20_000  # galaxies
MADE_SEED, MEASURED_SEED = SURVEY_SEED + 1, SURVEY_SEED + 2
DOCS = Path("docs/redshifts.md")
_BEGIN, _END = "<!-- measured: python -m tasks.training.demo_calibration", "<!-- end of what was measured -->"
_BATCH = 250

Galaxies = tuple[np.ndarray, np.ndarray, np.ndarray]


def predicted(count: int, seed: int, weights: Path = WEIGHTS) -> Galaxies:
    """Predicted redshifts, true redshifts and r magnitudes of a simulated survey, (N,) each."""
    import torch

    survey = simulate(count, seed)
    model = load(weights)
    parts = []
    with torch.no_grad():
        for start in range(0, count, _BATCH):
            images, magnitudes = (values[start : start + _BATCH] for values in (survey.images, survey.magnitudes))
            parts.append(model(torch.from_numpy(images).float(), torch.from_numpy(magnitudes).float()).numpy().ravel())
    return np.concatenate(parts), survey.redshifts, survey.magnitudes[:, R_BAND].astype(np.float32)


def make(galaxies: Galaxies, shapes: Sequence[tuple[int, int]] = SHAPES, weights: Path = WEIGHTS) -> Calibration:
    """The calibration, of galaxies as `predicted` gives them."""
    survey = f"cosmic simulate --samples {len(galaxies[0])} --seed {MADE_SEED}"
    return calibrate(*galaxies, content_hash(weights), {"data": survey}, shapes)


def measure(
    calibration: Calibration, one: Calibration, galaxies: Galaxies, picture: str, whose: str = "The demo weights'"
) -> tuple[str, str]:
    """What the calibration is worth on galaxies that it was not made on.

    Args:
        calibration: to be measured.
        one: the same with a single bin, to compare it with.
        galaxies: as `predicted` gives them.
        picture: file name of the PIT histogram, which the text shows.
        whose: calibration it is.

    Returns:
        Tables as Markdown, and the PIT histogram as SVG.
    """
    rows, rows_of_one = (_with_bounds(each, galaxies) for each in (calibration, one))
    scores, of_one = interval_scores(rows, calibration), interval_scores(rows_of_one, one)
    z_bins, mag_bins = calibration.made["bins"]
    figures = [
        (f"{level} % interval covers", percent(scores[f"coverage_{level}"]), percent(of_one[f"coverage_{level}"]))
        for level in PROMISED
    ]
    figures += [
        ("CRPS", number(scores["crps"], digits=4), number(of_one["crps"], digits=4)),
        ("CDE loss", number(scores["cde_loss"]), number(of_one["cde_loss"])),
        ("PIT, Kolmogorov-Smirnov", number(scores["pit_ks"]), number(of_one["pit_ks"])),
    ]
    worst = [
        (f"{level} % interval, worst decile of {name}", *(_worst(each, level, column) for each in (rows, rows_of_one)))
        for level in PROMISED
        for name, column in (("predicted redshift", "z_pred"), ("r magnitude", "mag_r"))
    ]
    header = ("", f"{z_bins} x {mag_bins} bins", "one global interval")
    inside = covered(rows)
    table = [
        [
            f"{position}",
            *(
                percent(np.nanmean(inside[level][deciles(rows[column].to_numpy())[position - 1]]))
                for column in ("z_pred", "mag_r")
                for level in PROMISED
            ),
        ]
        for position in range(1, 11)
    ]
    titles = ("Decile", *(f"{name}, {level} %" for name in ("predicted redshift", "r magnitude") for level in PROMISED))
    text = "\n\n".join(
        (
            f"{whose} calibration was made on {calibration.made['galaxies']:,} galaxies of `cosmic simulate`"
            f" with seed {MADE_SEED} and measured on {len(rows):,} with seed {MEASURED_SEED}; training saw neither."
            " Promised are 68.27 % and 95 %.",
            markdown_table(header, [*figures, *worst]),
            "Coverage in each decile, from the lowest redshift and the brightest galaxies to the highest and faintest:",
            markdown_table(titles, table),
            f"![PIT histogram of the measured galaxies]({picture})",
        )
    )
    return text, pit_histogram(score(calibration, *galaxies).pit)


def _with_bounds(calibration: Calibration, galaxies: Galaxies) -> pd.DataFrame:
    rows = pd.DataFrame(dict(zip(("z_pred", "z_spec", "mag_r"), galaxies, strict=True)))
    return rows.assign(**calibration.bounds(galaxies[0], galaxies[2]))


def _worst(rows: pd.DataFrame, level: str, column: str) -> str:
    """Coverage in the decile where it is furthest from what is promised."""
    inside = covered(rows)[level]
    shares = [float(np.nanmean(inside[part])) for part in deciles(rows[column].to_numpy())]
    return percent(max(shares, key=lambda share: abs(share - PROMISED[level])))


def main() -> int:
    """Simulate, calibrate, measure, write the calibration and what it is worth."""
    parser = argparse.ArgumentParser(prog="python -m tasks.training.demo_calibration")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of the calibrated model (default %(default)s)")
    parser.add_argument("--out", type=Path, help="the calibration (default: beside the weights)")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the page that gets the figures (default %(default)s)")
    arguments = parser.parse_args()
    weights, page = arguments.weights, arguments.docs
    is_demo = weights == WEIGHTS
    galaxies = predicted(MADE_ON, MADE_SEED, weights)
    calibration, one = make(galaxies, SHAPES, weights), make(galaxies, SHAPES[:1], weights)
    (arguments.out or weights.with_name(calibration_key(weights.name))).write_bytes(calibration.to_json())
    drawn = page.with_name(f"{page.stem}-pit.svg")
    whose = "The demo weights'" if is_demo else "Their"
    text, picture = measure(calibration, one, predicted(MEASURED_ON, MEASURED_SEED, weights), drawn.name, whose)
    write_section(page, f"{_BEGIN} -->" if is_demo else f"{_BEGIN} --weights {weights} --docs {page} -->", _END, text)
    drawn.write_text(picture.replace('style="', 'style="background: white; ', 1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

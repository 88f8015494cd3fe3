"""What a head that gives quantiles adds: `python -m tasks.training.head_quality` trains both heads and measures them.

One simulated survey trains a model of each head, with one recipe and one split; a second calibrates them, and on a
third their intervals and p(z) are scored. None of the three is the demo's.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from inference.contract.sample import R_BAND
from inference.contract.survey_facts import SurveyFacts
from inference.engines.torch_engine import TorchEngine
from inference.model.checkpoint import save
from inference.model.config import SMALL, Head
from inference.partitions.partition import write_partition
from inference.storage.store import Store
from tasks.photoz.bins import deciles
from tasks.photoz.calibration import Calibration
from tasks.photoz.conformal import SHAPES, calibrate
from tasks.photoz.metrics import photoz_metrics
from tasks.photoz.scores import PROMISED, covered, interval_scores
from tasks.photoz.spread import own_spread
from tasks.reporting.formatting import markdown_table, number, percent
from tasks.simulation.drawing import PIXEL
from tasks.simulation.survey import simulate
from tasks.training.demo_weights import SURVEY_SEED
from tasks.training.galaxies import open_galaxies
from tasks.training.loop import train
from tasks.training.measured_section import write_section
from tasks.training.recipe import Recipe

TRAINED_ON, MADE_ON, MEASURED_ON = 6_000, 20_000, 20_000  # galaxies
SEEDS = (SURVEY_SEED + 4, SURVEY_SEED + 5, SURVEY_SEED + 6)
EPOCHS = 8
DOCS = Path("docs/redshifts.md")
_BEGIN, _END = "<!-- measured: python -m tasks.training.head_quality -->", "<!-- end of the heads -->"
_BATCH = 250


def columns_of(weights: Path, count: int, seed: int) -> pd.DataFrame:
    """What a model gives for a simulated survey: its own columns with z_spec and mag_r."""
    survey, engine = simulate(count, seed), TorchEngine(weights, torch.get_num_threads())
    parts = [
        engine.predict_columns(survey.images[start : start + _BATCH], survey.magnitudes[start : start + _BATCH])
        for start in range(0, count, _BATCH)
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    mag_r = survey.magnitudes[:, R_BAND].astype(np.float32)
    return pd.DataFrame(found | {"z_spec": survey.redshifts, "mag_r": mag_r})


def trained(head: Head, folder: Path, count: int, epochs: int) -> Path:
    """The weights of a small model with a head, trained on a simulated survey in the folder."""
    path = folder / "survey" / "train" / "1.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True)
        survey = simulate(count, SEEDS[0])
        facts = SurveyFacts.of_sdss_bands(PIXEL)
        write_partition(path, survey.images, survey.magnitudes, survey.redshifts, facts)
    galaxies, recipe = open_galaxies("survey/train", Store(folder)), Recipe(epochs=epochs)
    made = train(replace(SMALL, head=head), recipe, galaxies, galaxies.split(recipe.held_out, recipe.seed))
    weights = folder / f"{head}.safetensors"
    save(weights, made.model)
    return weights


def ways(
    point: tuple[pd.DataFrame, pd.DataFrame], quantiles: tuple[pd.DataFrame, pd.DataFrame]
) -> dict[str, list[str]]:
    """The figures of each way to an interval, as a table's cells.

    Args:
        point: what the model of a redshift alone gives for the galaxies to calibrate with, and for those to measure on.
        quantiles: the same of the model that gives quantiles, too.
    """
    return {
        "redshift alone, one global interval": _measured(_calibrated(point[0], SHAPES[:1], own=False), point[1]),
        "redshift alone, conformal in bins": _measured(_calibrated(point[0], SHAPES, own=False), point[1]),
        "quantiles as they are": _measured(Calibration.normal(""), quantiles[1]),
        "quantiles, conformal in bins": _measured(_calibrated(quantiles[0], SHAPES, own=True), quantiles[1]),
    }


def _calibrated(rows: pd.DataFrame, shapes: tuple[tuple[int, int], ...], *, own: bool) -> Calibration:
    z_pred, z_spec, mag_r = (rows[name].to_numpy() for name in ("z_pred", "z_spec", "mag_r"))
    return calibrate(z_pred, z_spec, mag_r, "", {}, shapes, own_spread(rows) if own else None)


def _measured(calibration: Calibration, rows: pd.DataFrame) -> list[str]:
    bounds = calibration.bounds(rows["z_pred"].to_numpy(), rows["mag_r"].to_numpy(), own_spread(rows))
    rows = rows.assign(**bounds)
    scores, inside = interval_scores(rows, calibration), covered(rows)
    metrics = photoz_metrics(rows["z_pred"].to_numpy(), rows["z_spec"].to_numpy()) or {}
    width = (rows["z_err68_high"] - rows["z_err68_low"]).to_numpy()
    worst = [
        max((float(np.nanmean(inside["68"][part])) for part in deciles(values)), key=lambda c: abs(c - PROMISED["68"]))
        for values in (rows["z_pred"].to_numpy(), rows["mag_r"].to_numpy(), np.where(np.isnan(width), 0.0, width))
    ]
    return [
        number(metrics["nmad"]),
        *(percent(scores[f"coverage_{level}"]) for level in PROMISED),
        *map(percent, worst),
        *(number(scores[name], digits=4) for name in ("crps", "cde_loss", "pit_ks")),
        number(scores["width_68"]),
    ]


def table(cells: Mapping[str, list[str]]) -> str:
    """The ways side by side, as Markdown."""
    titles = ["NMAD", "68 % interval covers", "95 % interval covers"]
    titles += [f"68 %, worst decile of {of}" for of in ("predicted redshift", "r magnitude", "width")]
    titles += ["CRPS", "CDE loss", "PIT, Kolmogorov-Smirnov", "Median width, 68 %"]
    rows = [[title, *(column[place] for column in cells.values())] for place, title in enumerate(titles)]
    return markdown_table(("", *cells), rows)


def main() -> int:
    """Train, calibrate, measure, write the table."""
    parser = argparse.ArgumentParser(prog="python -m tasks.training.head_quality")
    parser.add_argument("--trained-on", type=int, default=TRAINED_ON, help="galaxies (default %(default)s)")
    parser.add_argument("--made-on", type=int, default=MADE_ON, help="to calibrate with (default %(default)s)")
    parser.add_argument("--measured-on", type=int, default=MEASURED_ON, help="galaxies (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of both trainings (default %(default)s)")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the page that gets the table (default %(default)s)")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        found = []
        heads: tuple[Head, ...] = ("point", "quantiles")
        for head in heads:
            weights = trained(head, Path(folder), given.trained_on, given.epochs)
            found.append(
                (columns_of(weights, given.made_on, SEEDS[1]), columns_of(weights, given.measured_on, SEEDS[2]))
            )
    text = (
        f"Two small models, trained for {given.epochs} epochs on the same {given.trained_on:,} galaxies of"
        f" `cosmic simulate` (seed {SEEDS[0]}), calibrated on {given.made_on:,} others (seed {SEEDS[1]}) and measured"
        f" on {given.measured_on:,} (seed {SEEDS[2]}). Promised are 68.27 % and 95 %.\n\n{table(ways(*found))}"
    )
    write_section(given.docs, _BEGIN, _END, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

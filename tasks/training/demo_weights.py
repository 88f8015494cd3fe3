"""The demo weights: `python -m tasks.training.demo_weights` simulates a survey and trains a small AstroMAE on it."""

import argparse
import dataclasses
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.model.astromae import AstroMAE
from inference.model.checkpoint import save
from inference.model.config import SMALL, AstroMAEConfig
from inference.partitions.partition import Partition
from inference.storage.atomic_write import atomic_write
from tasks.photoz.metrics import OUTLIER
from tasks.simulation.drawing import PIXEL
from tasks.simulation.survey import simulate
from tasks.training.galaxies import GalaxySet, Split
from tasks.training.loop import train
from tasks.training.recipe import SDSS, Recipe

WEIGHTS = Path(str(files("inference") / "weights" / "demo.safetensors"))


SAMPLES = 24_000  # galaxies simulated; the last of them, HELD_OUT, are never trained on
HELD_OUT = 4_000
SURVEY_SEED = 20_250  # not the demo survey's
RECIPE = Recipe(held_out=HELD_OUT / SAMPLES, data=dataclasses.replace(SDSS, pixel_scale=PIXEL))


def split_by_index(samples: int, held_out: int) -> Split:
    """The first galaxies for training, half of the others for validation after each epoch, the last for the figures."""
    rows, first = np.arange(samples), samples - held_out
    middle = first + held_out // 2
    return Split(rows[:first], rows[:first], rows[first:middle], rows[middle:])


def card(config: AstroMAEConfig, metrics: dict[str, float | None], size: int) -> str:
    """The model card, as Markdown."""
    recipe, tested = RECIPE, HELD_OUT - HELD_OUT // 2
    rows = {
        "MAE": ("mae", ".4f"),
        "MSE": ("mse", ".2e"),
        "bias, mean of delta": ("bias", "+.5f"),
        "NMAD, 1.48 x median of abs(delta - median)": ("nmad", ".4f"),
        "R2": ("r2", ".4f"),
        f"outlier fraction, abs(delta) > {OUTLIER:g}": ("outlier_fraction", ".4f"),
        "outlier fraction, abs(delta) > 0.05": ("outlier_fraction_005", ".4f"),
    }
    table = "\n".join(f"| {name} | {metrics[key]:{form}} |" for name, (key, form) in rows.items())
    parameters = sum(weights.numel() for weights in AstroMAE(config).parameters())
    return f"""# The demo weights

A small AstroMAE (all three branches, every width shrunk: {parameters:,} parameters, {size / 1e6:.2f} MB) that gives
redshifts of simulated galaxies. It is for the demo, for tests and for trying things out, not for science: it has
seen no real galaxy.

**Data.** {SAMPLES:,} galaxies of `cosmic simulate` with seed {SURVEY_SEED} (the demo's survey has another
seed): five-band images in nanomaggies, asinh magnitudes with noise, redshifts 0.01 to 0.6, as deep as the co-added
images of SDSS Stripe 82. Single SDSS exposures are two magnitudes noisier and hold less about redshift.

**Split.** By index: the first {SAMPLES - HELD_OUT:,} for training, the next {HELD_OUT // 2:,}
to look at after each epoch, the last {tested:,} for the figures below. Nothing was chosen on the last ones.

**Training.** `python -m tasks.training.demo_weights`, seed {recipe.seed}, {recipe.epochs} epochs, batches of
{recipe.batch_size}, AdamW with one cycle up to {recipe.learning_rate:g}, quarter turns and mirroring, a moving average
of the weights ({recipe.averaging}). All branches are trained together from scratch: unlike the published model, the
encoder is neither pre-trained as a masked autoencoder nor frozen (`cosmic train` can do both). The same command on the
same machine gives the same file; another processor or number of threads rounds differently.

**Quality** on the {tested:,} held-out galaxies, delta = (z_pred - z_spec) / (1 + z_spec):

| metric | value |
| --- | ---: |
{table}

**Limits.** Where a survey's pixels, seeing or depth differ, redshifts are worse and their intervals do not hold:
`python -m tasks.training.demo_limits` measures it, and docs/redshifts.md has the table. The header keeps the ranges of
the training's galaxies, by which a run flags those that lie outside (`out_of_domain`).

**Licence.** Apache-2.0, as the project.
"""


def main() -> int:
    """Simulate, train, write weights and card."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.training.demo_weights", description="Make the demo weights anew."
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="default: the project's own demo weights")
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    done = 0

    def simulated(count: int) -> None:
        nonlocal done
        done += count
        if done % 4000 < count:
            print(f"simulated {done:,} of {SAMPLES:,} galaxies", flush=True)  # noqa: T201

    def trained(_: str, entry: dict[str, Any]) -> None:
        print(f"epoch {entry['epoch']} of {RECIPE.epochs}: NMAD {entry['nmad']:.4f}", flush=True)  # noqa: T201

    survey = simulate(SAMPLES, SURVEY_SEED, progress=simulated)
    galaxies = GalaxySet([Partition("the survey", survey.images, survey.magnitudes, survey.redshifts)])
    result = train(SMALL, RECIPE, galaxies, split_by_index(SAMPLES, HELD_OUT), device="cpu", progress=trained)
    facts = {"recipe": RECIPE.to_dict(), "samples": SAMPLES, "survey_seed": SURVEY_SEED, "metrics": result.metrics}
    save(arguments.out, result.model, facts, training_data=result.training_data)
    text = card(SMALL, result.metrics, arguments.out.stat().st_size)
    with atomic_write(arguments.out.with_suffix(".md")) as partial:
        partial.write_text(text)
    print(text)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

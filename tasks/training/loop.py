"""Training of an AstroMAE on galaxies with known redshifts: pre-training of its encoder if asked, then the whole.

Inputs are scaled during training only; the scaling is folded into the first layers afterwards, exactly, so that the
finished model takes images in nanomaggies and magnitudes as they are. Everything is drawn from the recipe's seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from inference.errors import BadInput
from inference.model.astromae import AstroMAE
from inference.model.config import AstroMAEConfig
from inference.model.training_data import TrainingData
from tasks.photoz.metrics import photoz_metrics
from tasks.training.fit import TrainingPhase, device_of, fit, training_identity
from tasks.training.galaxies import GalaxySet, Split
from tasks.training.pretraining import MaskedAutoencoder, reconstruction_loss
from tasks.training.recipe import Recipe

_SCALE_ROWS = 20_000  # galaxies whose pixels give the spread of each band
_SCORED = 512  # galaxies a batch when the model is only looked at
QUANTILES = (0.5, 0.16, 0.84)  # in the order in which the head gives them
Progress = Callable[[str, dict[str, Any]], None]


class Scaled(nn.Module):
    """The model behind a fixed scaling of its inputs, which `fold` moves into the first layers.

    Args:
        model: on the CPU.
        pixel: spread of each band's pixels, (5,).
        magnitudes: (N, 5), whose mean and spread are taken.
    """

    def __init__(self, model: AstroMAE, pixel: np.ndarray, magnitudes: np.ndarray) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("pixel", torch.tensor(pixel, dtype=torch.float32).reshape(1, -1, 1, 1))
        self.register_buffer("centre", torch.tensor(magnitudes.mean(axis=0), dtype=torch.float32))
        self.register_buffer("spread", torch.tensor(magnitudes.std(axis=0), dtype=torch.float32))

    def forward(self, images: Tensor, magnitudes: Tensor) -> Tensor:
        """Redshifts, (B, 1)."""
        pixel, centre, spread = (self.get_buffer(name) for name in ("pixel", "centre", "spread"))
        redshift: Tensor = self.model(images / pixel, (magnitudes - centre) / spread)
        return redshift

    def train(self, mode: bool = True) -> "Scaled":
        """An encoder that is frozen stays in evaluation mode, the running means of its batch norms too."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.encoder.parameters()):
            self.model.encoder.eval()
        return self


@torch.no_grad()
def fold(scaled: Scaled) -> AstroMAE:
    """The model with the scaling in its first layers; they pad nothing, so the result is the same function."""
    model = scaled.model
    pixel, centre, spread = scaled.get_buffer("pixel"), scaled.get_buffer("centre"), scaled.get_buffer("spread")
    for layer in (model.encoder.patches, model.inception[0]):
        layer.get_parameter("weight").div_(pixel)
    first = model.magnitudes[0]
    first.get_parameter("weight").div_(spread)
    first.get_parameter("bias").sub_(first.get_parameter("weight") @ centre)
    return model


class HeldOut(NamedTuple):
    """Galaxies that were not trained on, with what the finished model says of them, (N,) each.

    Attributes:
        z_pred, z_spec: redshifts, predicted and known.
        mag_r: r magnitudes, AB.
        z_q16, z_q84: quantiles of the redshift, where the model's head gives them.
    """

    z_pred: np.ndarray
    z_spec: np.ndarray
    mag_r: np.ndarray
    z_q16: np.ndarray | None = None
    z_q84: np.ndarray | None = None

    def columns(self) -> dict[str, np.ndarray]:
        """Those that there are, by name."""
        return {name: values for name, values in self._asdict().items() if values is not None}


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        model: in evaluation mode, on the CPU, for raw inputs.
        metrics: on the galaxies of `test` (`tasks.photoz.metrics`).
        validation: looked at after each epoch; what is made of them is measured on `test`.
        test: looked at once, at the end.
        history: entries of `tasks.training.fit.fit` by phase, "pretraining" (or none) and "training".
        device: what it ran on.
        training_data: the recipe's facts with the ranges of the galaxies that were trained on.
    """

    model: AstroMAE
    metrics: dict[str, float | None]
    validation: HeldOut
    test: HeldOut
    history: dict[str, list[dict[str, Any]]]
    device: str
    training_data: TrainingData


def train(
    config: AstroMAEConfig,
    recipe: Recipe,
    galaxies: GalaxySet,
    split: Split,
    *,
    state: Path | None = None,
    device: str | None = None,
    progress: Progress = lambda phase, entry: None,
) -> Trained:
    """Train, after pre-training if the recipe has it.

    Args:
        config: of the model.
        recipe: how to.
        galaxies: the set.
        split: of it.
        state: folder for what is needed to go on after an interruption.
        device: "cpu" or "cuda"; default the GPU where there is one.
        progress: called with the phase and each epoch's entry.

    Raises:
        BadInput: a band's pixels or magnitudes are all alike.
        BadPartition: a galaxy cannot be used.
        BadCheckpoint: the state is damaged.
        CosmicError: the loss is no number any more.
        StoreError: the state cannot be written.
    """
    place = device_of(device)
    for rows in (split.validation, split.test):  # these are used only after hours of training
        for start in range(0, len(rows), _SCORED):
            galaxies.images(rows[start : start + _SCORED])
    some = split.train[:_SCALE_ROWS]
    images = galaxies.images(some)
    pixel = images.std(axis=(0, 2, 3))
    training_data = recipe.data.with_ranges(images, galaxies.magnitudes[some], galaxies.redshifts[some])
    del images
    for what, spread in (("pixels", pixel), ("magnitudes", galaxies.magnitudes[split.train].std(axis=0))):
        if not (spread > 0).all():
            raise BadInput(f"the {what} of band {np.argmin(spread)} are all alike: there is nothing to scale them by")
    # Of the pixels their spread stands for all: what was ingested anew in another unit is another set of galaxies.
    facts = {"config": config.to_dict(), "recipe": recipe.to_dict(), "pixel": pixel.tolist()}
    identity = training_identity(facts, galaxies)
    torch.manual_seed(recipe.seed)
    rng = torch.Generator().manual_seed(recipe.seed)
    model = AstroMAE(config)
    history: dict[str, list[dict[str, Any]]] = {"pretraining": []}
    if recipe.pretraining is not None:
        history["pretraining"] = _pretrain(model, recipe, galaxies, split, pixel, identity, rng, place, state, progress)
        model.encoder.requires_grad_(not recipe.frozen_encoder)
    scaled = Scaled(model, pixel, galaxies.magnitudes[split.train]).to(place)
    scaled.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    phase = TrainingPhase(
        name="training",
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        averaging=recipe.averaging,
        precision=recipe.precision,
        identity=identity,
    )

    def watch(module: nn.Module) -> dict[str, float | None]:
        return (
            photoz_metrics(outputs(module, galaxies, split.validation)[:, 0], galaxies.redshifts[split.validation])
            or {}
        )

    averaged, history["training"] = fit(
        scaled,
        phase,
        galaxies,
        split.train,
        redshift_loss if config.head == "point" else quantile_loss,
        rng,
        watch=watch,
        state=None if state is None else state / "training.safetensors",
        progress=lambda entry: progress("training", entry),
    )
    finished = fold(averaged.to("cpu")).eval()  # type: ignore[arg-type]
    finished.requires_grad_(True)
    validation, test = (
        HeldOut(
            found[0], galaxies.redshifts[rows], galaxies.magnitudes[rows, galaxies.facts.reference_band], *found[1:]
        )
        for rows in (split.validation, split.test)
        for found in [outputs(finished, galaxies, rows).T]
    )
    metrics = photoz_metrics(test.z_pred, test.z_spec) or {}
    return Trained(finished, metrics, validation, test, history, place.type, training_data)


def _pretrain(
    model: AstroMAE,
    recipe: Recipe,
    galaxies: GalaxySet,
    split: Split,
    pixel: np.ndarray,
    identity: str,
    rng: torch.Generator,
    place: torch.device,
    state: Path | None,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Pre-train the model's encoder in place."""
    how = recipe.pretraining
    assert how is not None  # noqa: S101 - the caller looked
    autoencoder = MaskedAutoencoder(model.encoder, model.config, how, pixel).to(place)
    phase = TrainingPhase(
        name="pretraining",
        epochs=how.epochs,
        batch_size=how.batch_size,
        learning_rate=how.learning_rate,
        weight_decay=how.weight_decay,
        averaging=recipe.averaging,
        precision=recipe.precision,
        identity=identity,
    )
    averaged, history = fit(
        autoencoder,
        phase,
        galaxies,
        split.pretraining,
        reconstruction_loss,
        rng,
        state=None if state is None else state / "pretraining.safetensors",
        progress=lambda entry: progress("pretraining", entry),
    )
    model.encoder.load_state_dict(averaged.encoder.state_dict())  # type: ignore[union-attr]
    model.to("cpu")
    return history


def redshift_loss(
    module: nn.Module, images: Tensor, magnitudes: Tensor, redshifts: Tensor, rng: torch.Generator
) -> Tensor:
    """Smooth L1 of delta, which is quadratic below 0.02."""
    predicted = module(images, magnitudes)[:, 0].float()
    delta = (predicted - redshifts) / (1 + redshifts)
    return nn.functional.smooth_l1_loss(delta, torch.zeros_like(delta), beta=0.02)


def quantile_loss(
    module: nn.Module, images: Tensor, magnitudes: Tensor, redshifts: Tensor, rng: torch.Generator
) -> Tensor:
    """Pinball loss of delta at the three quantiles (Koenker & Bassett 1978, Econometrica 46, 33)."""
    delta = (redshifts[:, None] - module(images, magnitudes).float()) / (1 + redshifts[:, None])
    levels = delta.new_tensor(QUANTILES)
    return torch.maximum(levels * delta, (levels - 1) * delta).mean()


@torch.inference_mode()
def outputs(module: nn.Module, galaxies: GalaxySet, rows: np.ndarray) -> np.ndarray:
    """What the model's head gives for some galaxies, in float32: (B, config.outputs), redshifts first."""
    module.eval()
    device = next(module.parameters()).device
    parts = []
    for start in range(0, len(rows), _SCORED):
        part = rows[start : start + _SCORED]
        images, magnitudes = (
            torch.from_numpy(galaxies.images(part)),
            torch.from_numpy(galaxies.magnitudes[part]).float(),
        )
        parts.append(module(images.to(device), magnitudes.to(device)).float().cpu().numpy())
    return np.concatenate(parts)

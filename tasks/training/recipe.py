"""How to train: all that a model's weights depend on besides the galaxies, as data."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from inference.contract.near import near
from inference.contract.validation import is_number, shorten
from inference.errors import BadInput
from inference.model.config import SMALL, AstroMAEConfig
from inference.model.training_data import TrainingData

Precision = Literal["float32", "bf16"]

SDSS = TrainingData(bands=("u", "g", "r", "i", "z"), pixel_unit="nanomaggy", magnitude_system="AB")


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Of the encoder as a masked autoencoder (He et al. 2022, CVPR, 15979).

    Attributes:
        epochs: passes over all galaxies that are not held out, also those without a redshift.
        batch_size: galaxies a step.
        learning_rate, weight_decay: of AdamW with one cycle of the learning rate.
        mask_ratio: share of the patches that the encoder does not see and the decoder has to draw.
        decoder_width, decoder_depth, decoder_heads: of the decoder, which is thrown away.
    """

    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    mask_ratio: float = 0.75
    decoder_width: int = 96
    decoder_depth: int = 2
    decoder_heads: int = 3

    def __post_init__(self) -> None:
        _check(self)
        if not 0 < self.mask_ratio < 1:
            raise BadInput(f"pretraining.mask_ratio must lie between 0 and 1, not {shorten(self.mask_ratio, 40)}")
        if self.decoder_width % self.decoder_heads:
            raise BadInput(
                f"decoder_heads must divide decoder_width {self.decoder_width}, and {self.decoder_heads} does not"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Of the whole model on known redshifts, after pre-training where there is one.

    Attributes:
        seed: of weights, split, order, masks and augmentation.
        held_out: share of the galaxies that are never trained on: half of them is looked at after each epoch, the other
            half gives the card's figures.
        epochs: passes over the galaxies with a redshift.
        batch_size: galaxies a step.
        learning_rate, weight_decay: of AdamW with one cycle of the learning rate.
        averaging: decay of the moving average of the weights, which is what is kept; less in a short training.
        frozen_encoder: whether the pre-trained encoder stays as it is, as the published model's did.
        precision: of the arithmetic; weights and their sums are float32 in either.
        pretraining: None trains all branches together from scratch.
        data: facts of the galaxies, for the checkpoint's header: bands, pixel_scale (arcseconds), pixel_unit,
            magnitude_system.

    Raises:
        BadInput: naming the field that is wrong.
    """

    seed: int = 1
    held_out: float = 0.2
    epochs: int = 14
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    averaging: float = 0.99
    frozen_encoder: bool = False
    precision: Precision = "float32"
    pretraining: Pretraining | None = None
    data: TrainingData = SDSS

    def __post_init__(self) -> None:
        _check(self)
        if not 0 < self.held_out <= 0.9:
            raise BadInput(f"held_out must be above 0 and at most 0.9, not {shorten(self.held_out, 40)}")
        if not 0 <= self.averaging < 1:
            raise BadInput(f"averaging must be at least 0 and below 1, not {shorten(self.averaging, 40)}")
        if not isinstance(self.frozen_encoder, bool):
            raise BadInput(f"frozen_encoder must be true or false, not {shorten(self.frozen_encoder, 40)}")
        if self.frozen_encoder and self.pretraining is None:
            raise BadInput("frozen_encoder without pretraining would keep an encoder that has learned nothing")
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise BadInput(f"precision must be one of {known}, not {shorten(self.precision, 40)}")
        if self.pretraining is not None and not isinstance(self.pretraining, Pretraining):
            raise BadInput(f"pretraining must be an object, not {shorten(self.pretraining, 40)}")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as a JSON object, every field written out."""
        return dataclasses.asdict(self) | {"data": self.data.to_dict()}

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Read what `to_dict` wrote; fields that are not there have their defaults.

        Raises:
            BadInput: not an object, an unknown field, or a wrong value; named.
        """
        fields = _fields(cls, document, "the recipe")
        if fields.get("pretraining") is not None:
            fields["pretraining"] = Pretraining(**_fields(Pretraining, fields["pretraining"], "pretraining"))
        if "data" in fields:
            fields["data"] = TrainingData.from_dict(
                cls.data.to_dict() | _fields(TrainingData, fields["data"], "data") | {"ranges": {}}
            )
        return cls(**fields)


def _fields(kind: type, document: object, what: str) -> dict[str, Any]:
    if not isinstance(document, Mapping):
        raise BadInput(f"{what} must be an object, not {type(document).__name__}")
    known = {field.name for field in dataclasses.fields(kind)}
    for name in document:
        if name not in known:
            meant = near(str(name), known)
            raise BadInput(f"{what} has no field {shorten(name)}{meant}; it has {', '.join(sorted(known))}")
    return dict(document)


def _check(recipe: Any) -> None:
    """Counts are whole and above 0, rates are finite and not negative."""
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.type is int:
            least = 0 if field.name == "seed" else 1
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 2**32 - 1:
                raise BadInput(f"{field.name} must be a whole number from {least}, not {shorten(value, 40)}")
        elif field.type is float and not is_number(value, 0):
            raise BadInput(f"{field.name} must be a number and not negative, not {shorten(value, 40)}")
    if not recipe.learning_rate > 0:
        raise BadInput(f"learning_rate must be above 0, not {shorten(recipe.learning_rate, 40)}")


MODELS = {"small": SMALL, "published": AstroMAEConfig()}


def read_recipe(document: object) -> tuple[AstroMAEConfig, Recipe]:
    """A model and how to train it, from a recipe file's document.

    Its key `model` is `small`, `published`, or a config; `head`, of the config, may stand beside it; all others are of
    `tasks.training.recipe.Recipe`.

    Raises:
        BadInput: naming what is wrong.
    """
    if not isinstance(document, Mapping):
        raise BadInput(f"a recipe must be a JSON object, not {type(document).__name__}")
    model = document.get("model", "small")
    if isinstance(model, str):
        if model not in MODELS:
            raise BadInput(f"model must be {' or '.join(MODELS)} or a config, not {model!r:.60}")
        config = MODELS[model]
    else:
        config = AstroMAEConfig.from_dict(model)
    if "head" in document:
        config = dataclasses.replace(config, head=document["head"])
    return config, Recipe.from_dict({key: value for key, value in document.items() if key not in {"model", "head"}})

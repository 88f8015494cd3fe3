"""The shape of an AstroMAE, as data: what a checkpoint's header says and what the model is built from.

Nothing here imports torch, so that a worker which runs an exported graph can read the config too.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from inference.contract.validation import shorten
from inference.errors import BadInput

QkvBias = Literal["joint", "none", "separate"]
Head = Literal["point", "quantiles"]
WIDTH_BETA = 50.0  # of the softplus of a head of quantiles: at 0 it is 0.014, and half as steep as its input

# Far beyond any published model; what is larger is a damaged or hostile header.
_LARGEST = {"depth": 100, "magnitude_layers": 100, "image_size": 1024, "patch": 1024, "bands": 64, "heads": 256}
_LARGEST_WIDTH = 16_384
_LARGEST_RATIO = 64
_MOST_PATCHES = 4096


@dataclass(frozen=True, kw_only=True)
class AstroMAEConfig:
    """Every width and choice of an AstroMAE; the defaults are the published one with a plain ViT-Tiny encoder.

    Contract, "Model: AstroMAE for redshift".

    Attributes:
        image_size: height and width of the cut-out in pixels, a multiple of 8 and of `patch`.
        bands: channels of the image, and as many magnitudes.
        patch: height and width of a patch in pixels.
        width: of a token.
        depth: transformer blocks.
        heads: of the attention; they divide `width`.
        mlp_ratio: hidden width of a block's MLP over `width`.
        qkv_bias: "joint", one vector for q, k and v; "separate", vectors for q and v, none for k; or "none".
        norm_eps: epsilon of the layer norms in the blocks.
        head_norm_eps: epsilon of the layer norm behind them; None where it is the same.
        class_token: whether one is put in front of the patches.
        convolution_ratio: hidden width over `width` of the convolutions beside attention; None without them.
        convolution_groups: groups of both these convolutions.
        inception_stem: channels of the first, bare convolution.
        inception_widths: channels of a branch in each of the five inception blocks.
        magnitude_width: of each layer of the magnitude MLP.
        magnitude_layers: how many there are.
        branch_width: features that the encoder and the inception branch each give.
        head_width: hidden width of the head that joins the branches.
        head: what it gives: "point", a redshift; or "quantiles", the median with the 16 and 84 % quantiles.

    Raises:
        BadInput: naming the field that is wrong.
    """

    image_size: int = 32
    bands: int = 5
    patch: int = 8
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: float = 4.0
    qkv_bias: QkvBias = "joint"
    norm_eps: float = 1e-6
    head_norm_eps: float | None = None
    class_token: bool = True
    convolution_ratio: float | None = None
    convolution_groups: int = 1
    inception_stem: int = 32
    inception_widths: tuple[int, ...] = (16, 16, 8, 8, 4)
    magnitude_width: int = 1024
    magnitude_layers: int = 5
    branch_width: int = 1096
    head_width: int = 1024
    head: Head = "point"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type is int:
                _whole(field.name, getattr(self, field.name))
        if not isinstance(self.class_token, bool):
            raise BadInput(f"class_token must be true or false, not {shorten(self.class_token)}")
        if self.head not in get_args(Head):
            raise BadInput(f"head must be one of {', '.join(get_args(Head))}, not {shorten(self.head)}")
        if self.qkv_bias not in get_args(QkvBias):
            raise BadInput(f"qkv_bias must be one of {', '.join(get_args(QkvBias))}, not {shorten(self.qkv_bias)}")
        _above_zero("norm_eps", self.norm_eps, 0.1)
        if self.head_norm_eps is not None:
            _above_zero("head_norm_eps", self.head_norm_eps, 0.1)
        if not isinstance(self.inception_widths, tuple) or len(self.inception_widths) != 5:
            raise BadInput(f"inception_widths must be five widths, not {shorten(self.inception_widths)}")
        for width in self.inception_widths:
            _whole("inception_widths", width)
        if self.image_size % 8:  # the inception branch halves it three times
            raise BadInput(f"image_size must be a multiple of 8, not {self.image_size}")
        if self.image_size % self.patch:
            raise BadInput(f"patch must divide image_size {self.image_size}, and {self.patch} does not")
        if self.patches > _MOST_PATCHES:
            raise BadInput(f"patch {self.patch} makes {self.patches} patches of an image; {_MOST_PATCHES} is the limit")
        if self.width % self.heads:
            raise BadInput(f"heads must divide width {self.width}, and {self.heads} does not")
        _hidden("mlp_ratio", self.width, self.mlp_ratio)
        hidden = self.convolution_hidden
        if hidden is not None and (self.width % self.convolution_groups or hidden % self.convolution_groups):
            raise BadInput(
                f"convolution_groups must divide {self.width} and {hidden} channels,"
                f" and {self.convolution_groups} does not"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Bands, height and width of a cut-out."""
        return self.bands, self.image_size, self.image_size

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return self.grid**2

    @property
    def mlp_hidden(self) -> int:
        """Hidden width of a block's MLP."""
        return _hidden("mlp_ratio", self.width, self.mlp_ratio)

    @property
    def convolution_hidden(self) -> int | None:
        """Channels between the two convolutions beside attention; None without them."""
        if self.convolution_ratio is None:
            return None
        return _hidden("convolution_ratio", self.width, self.convolution_ratio)

    @property
    def last_norm_eps(self) -> float:
        """Epsilon of the layer norm behind the blocks."""
        return self.norm_eps if self.head_norm_eps is None else self.head_norm_eps

    @property
    def features(self) -> int:
        """Width of the three branches joined: 3,216 in the published model."""
        return 2 * self.branch_width + self.magnitude_width

    @property
    def outputs(self) -> int:
        """Numbers that the head gives for a galaxy."""
        return 1 if self.head == "point" else 3

    def to_dict(self) -> dict[str, Any]:
        """The config as a JSON object, every field written out that an older version knows too."""
        document = dataclasses.asdict(self)
        if self.head_norm_eps is None:
            del document["head_norm_eps"]
        if self.head == "point":
            del document["head"]
        return document

    @classmethod
    def from_dict(cls, document: object) -> Self:
        """Read what `to_dict` wrote; fields that are not there have their defaults.

        Raises:
            BadInput: not an object, an unknown field, or a wrong value; named.
        """
        if not isinstance(document, Mapping):
            raise BadInput(f"the config must be an object, not {type(document).__name__}")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(str(name) for name in document if name not in known)
        if unknown:
            raise BadInput(f"the config has no field {', '.join(unknown)[:120]!r}")
        fields = dict(document)
        if isinstance(fields.get("inception_widths"), list):
            fields["inception_widths"] = tuple(fields["inception_widths"])
        return cls(**fields)


def _whole(field: str, value: object) -> None:
    largest = _LARGEST.get(field, _LARGEST_WIDTH)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise BadInput(f"{field} must be a whole number from 1 to {largest}, not {shorten(value)}")


def _above_zero(field: str, value: object, largest: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= largest:
        raise BadInput(f"{field} must be above 0 and at most {largest}, not {shorten(value)}")


def _hidden(field: str, width: int, ratio: float) -> int:
    """The hidden width that a ratio stands for; a ratio such as 85 / 192 is rarely exact."""
    _above_zero(field, ratio, _LARGEST_RATIO)
    hidden = round(width * ratio)
    if abs(hidden - width * ratio) > 1e-6 or hidden == 0:
        raise BadInput(f"{field} {ratio} of width {width} is no whole number")
    return hidden


# The demo's: all three branches, under 1 MB of float32, trained in minutes on two cores.
SMALL = AstroMAEConfig(
    width=48,
    depth=3,
    heads=3,
    mlp_ratio=2.0,
    inception_stem=16,
    inception_widths=(8, 8, 8, 8, 4),
    magnitude_width=128,
    branch_width=64,
    head_width=128,
)

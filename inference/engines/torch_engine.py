"""The engine `torch`: on a CUDA device where there is one, with transfers that overlap the arithmetic, else on the CPU.

A batch goes to the device in parts. While one is computed the next is copied, from memory that the device reads by
itself (pinned) and on a stream of its own; redshifts come back the same way. The host waits once a batch.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inference.contract.validation import shorten
from inference.engines.base import AstroMAEEngine, check_galaxies
from inference.errors import BadInput
from inference.model.checkpoint import load, read_header
from inference.model.config import AstroMAEConfig

_PART = 4096  # galaxies of a transfer: 84 MB
_COMPARED = 256  # galaxies computed in float32 too, to measure what a reduced precision costs


class TorchEngine(AstroMAEEngine):
    """AstroMAE in torch.

    Attributes:
        training_data: what the model was trained on, None where that is not known.
        precision_error: largest difference from float32's redshifts, over the first galaxies that were predicted; 0.0
            in float32, and before anything was predicted.

    Args:
        weights: the checkpoint.
        threads: how many the CPU computes with.
        precision: "float32"; "tf32", matrix products with 10 bits of mantissa, on CUDA only; or "bf16", with 7,
            but for the magnitudes' branch and the head, which stay in float32.

    Raises:
        BadInput: this device does not have that precision.
        BadCheckpoint: the weights are broken.
    """

    name = "torch"

    def __init__(self, weights: Path, threads: int, precision: str = "float32") -> None:
        torch.set_num_threads(threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "tf32" and self.device == "cpu":
            raise BadInput("precision tf32 needs a CUDA device, and torch finds none here: choose float32 or bf16")
        self.precision, self.precision_error = precision, 0.0
        self._compared = precision == "float32"
        self._model: Any = load(weights).to(self.device)
        self.config: AstroMAEConfig = self._model.config
        self.training_data = read_header(weights)[1]
        self._rounded = _cuda_model(self._model) if precision == "bf16" and self.device == "cuda" else None
        if precision == "bf16" and self._rounded is None:
            # A magnitude of 20 would be rounded to eighths. These two are 7 % of the published model's arithmetic.
            for part in ("magnitudes", "head"):
                self._model.add_module(part, _InFloat32(getattr(self._model, part)))
        self._transfers = _Transfers(self.config) if self.device == "cuda" else None

    def outputs(self, images: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """See `inference.engines.base.AstroMAEEngine`."""
        images, magnitudes = check_galaxies(self.config.image_shape, images, magnitudes)
        redshifts = self._predict(images, magnitudes, self.precision)
        if not self._compared:
            whole = self._predict(images[:_COMPARED], magnitudes[:_COMPARED], "float32")
            self.precision_error = float(np.abs(redshifts[:_COMPARED] - whole).max(initial=0.0))
            self._compared = True
        return redshifts

    def _predict(self, images: np.ndarray, magnitudes: np.ndarray, precision: str) -> np.ndarray:
        # The shortened float32 of CUDA's matrix products and convolutions is off by 1e-3, and the engines must agree.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        model = self._rounded if precision == "bf16" and self._rounded is not None else self._model
        reduced = torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16" and model is self._model)
        with torch.inference_mode(), reduced:
            if self._transfers is not None:
                return self._transfers.predict(model, images, magnitudes)
            # Copied, because partitions are read-only views of a file and torch warns of such arrays.
            redshifts = self._model(torch.tensor(images), torch.tensor(magnitudes))
            array: np.ndarray = redshifts.float().numpy()
            return array


def _cuda_model(model: Any) -> Any:
    """The model in `inference.engines.cuda_model`, None where this machine cannot compile its kernels; says so then."""
    try:
        from inference.engines.cuda_model import CudaModel

        bands, side, _ = model.config.image_shape
        rounded = CudaModel(model, _PART)
        with torch.inference_mode():
            rounded(torch.zeros((1, bands, side, side), device="cuda"), torch.zeros((1, bands), device="cuda"))
    except Exception as error:  # noqa: BLE001
        # Triton is not part of every build of torch; it compiles with the machine's C compiler, for some devices only.
        reason = shorten(str(error).strip().split("\n")[-1])
        warnings.warn(f"bf16 runs by torch's own kernels, three times slower: {reason}", stacklevel=2)
        return None
    return rounded


class _InFloat32(nn.Module):
    """A part of a model that stays in float32."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self._part = part

    def forward(self, values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            out: Tensor = self._part(values.float())
        return out


class _Transfers:
    """Two pairs of pinned buffers that take turns, and a stream for copies."""

    def __init__(self, config: AstroMAEConfig) -> None:
        self._outputs = config.outputs
        self._copies: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        image = (config.bands, config.image_size, config.image_size)
        self._slots = []
        for _ in range(2):
            images = torch.empty((_PART, *image), pin_memory=True)
            magnitudes = torch.empty((_PART, config.bands), pin_memory=True)
            free = torch.cuda.Event()  # type: ignore[no-untyped-call]  # recorded when the buffers' last copy has ended
            free.record(self._copies)
            self._slots.append((images, magnitudes, free))

    def predict(self, model: Any, images: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        compute = torch.cuda.current_stream()
        redshifts = torch.empty((len(images), self._outputs), pin_memory=True)
        for number, start in enumerate(range(0, len(images), _PART)):
            part = slice(start, start + _PART)
            pinned_images, pinned_magnitudes, free = self._slots[number % 2]
            count = len(images[part])
            free.synchronize()
            # torch copies with all its threads: 659,817 samples in 0.38 s where numpy needs 1.18 s (16 cores).
            pinned_images[:count].copy_(_tensor(images[part]))
            pinned_magnitudes[:count].copy_(_tensor(magnitudes[part]))
            with torch.cuda.stream(self._copies):
                inputs = [pinned[:count].to("cuda", non_blocking=True) for pinned in (pinned_images, pinned_magnitudes)]
                free.record(self._copies)
            compute.wait_stream(self._copies)
            for tensor in inputs:
                tensor.record_stream(compute)  # else their memory might be given away before they are computed with
            predicted = model(*inputs).float()
            redshifts[part].copy_(predicted, non_blocking=True)
        compute.synchronize()
        array: np.ndarray = redshifts.numpy().copy()
        return array


def _tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor over the same memory; torch warns of arrays that cannot be written, and this one is not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)

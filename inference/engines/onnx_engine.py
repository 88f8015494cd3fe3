"""The engine `onnxruntime`: the exported graph on the CPU, with a thread for each part of a batch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from inference.contract.json_text import parse_json
from inference.engines.base import AstroMAEEngine, check_galaxies
from inference.engines.onnx_session import open_session, parts_of
from inference.errors import BadCheckpoint, BadInput
from inference.model.config import AstroMAEConfig
from inference.model.training_data import TrainingData

_COMPARED = 256  # galaxies computed in float32 too, to measure what a reduced precision costs


class OnnxEngine(AstroMAEEngine):
    """AstroMAE in onnxruntime.

    Attributes:
        training_data: what the model was trained on, None where that is not known.
        precision_error: largest difference from float32's redshifts, over the first galaxies that were predicted; 0.0
            in float32, and before anything was predicted.

    Args:
        graph: exported for this precision; the model's config is in it.
        sha256: content hash of the weights that it must have been exported from.
        threads: how many parts of a batch are computed at a time.
        precision: "float32"; or "int8", in the encoder's linear maps.

    Raises:
        BadCheckpoint: the graph is broken, another model's, or of another precision.
    """

    name = "onnxruntime"
    device = "cpu"

    def __init__(self, graph: Path, sha256: str, threads: int, precision: str = "float32") -> None:
        self.precision, self.precision_error = precision, 0.0
        self._session = open_session(graph)
        metadata = self._session.get_modelmeta().custom_metadata_map
        if metadata.get("weights") != sha256 or "config" not in metadata:
            raise BadCheckpoint(f"{graph} is not the graph of the weights it was given with")
        if ("exact" in {entry.name for entry in self._session.get_inputs()}) != (precision == "int8"):
            raise BadCheckpoint(f"{graph} was not exported for {precision}")
        try:
            self.config = AstroMAEConfig.from_dict(parse_json(metadata["config"], "its config"))
            facts = metadata.get("training_data")
            self.training_data = (
                None if facts is None else TrainingData.from_dict(parse_json(facts, "its training data"))
            )
        except BadInput as error:
            raise BadCheckpoint(f"{graph} has a damaged config: {error}") from None
        self._compared = precision == "float32"
        self._pool = ThreadPoolExecutor(threads, "cosmic-engine") if threads > 1 else None

    def outputs(self, images: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """See `inference.engines.base.AstroMAEEngine`."""
        images, magnitudes = check_galaxies(self.config.image_shape, images, magnitudes)
        redshifts = self._run(images, magnitudes, exact=False)
        if not self._compared:
            exact = self._run(images[:_COMPARED], magnitudes[:_COMPARED], exact=True)
            self.precision_error = float(np.abs(redshifts[:_COMPARED] - exact).max(initial=0.0))
            self._compared = True
        return redshifts

    def _run(self, images: np.ndarray, magnitudes: np.ndarray, *, exact: bool) -> np.ndarray:
        redshifts = np.empty((len(images), self.config.outputs), np.float32)
        choice = {"exact": np.array(exact)} if self.precision == "int8" else {}

        def compute(part: slice) -> None:
            inputs = {"images": images[part], "magnitudes": magnitudes[part]}
            redshifts[part] = self._session.run(None, inputs | choice)[0]

        parts = parts_of(len(images))
        for _ in map(compute, parts) if self._pool is None else self._pool.map(compute, parts):
            pass
        return redshifts

"""A stage of RAIL's pipelines: a model and galaxies in, their p(z) as qp's ensemble out.

`rail.estimation.estimator.CatEstimator` reads the table in chunks, spreads them over MPI's processes and writes the
ensemble; this stage predicts, and gives each galaxy the p(z) of the model's calibration. Needs `cosmic-flows[rail]`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import qp
from ceci.config import StageParameter
from rail.core.enums import DistributionType
from rail.estimation.estimator import CatEstimator

from inference.contract.object_keys import calibration_key
from inference.contract.run_request import ENGINES
from inference.contract.sample import R_BAND
from inference.contract.validation import shorten
from inference.engines.columns import OUT_OF_DOMAIN, REDSHIFT, predict_columns
from inference.engines.load import open_engine
from inference.errors import BadInput
from inference.model.checkpoint import content_hash
from tasks.photoz.calibration import Calibration
from tasks.photoz.spread import own_spread


class CosmicFlowsEstimator(CatEstimator):  # type: ignore[misc]
    """p(z) of a table's galaxies.

    The table has `images`, (N, bands, S, S) cut-outs, and `magnitudes`, (N, bands), as a run's partitions do; or
    `magnitude_columns` names a column for each band. `model` is the path of a `.safetensors` or `.onnx` file.

    The ensemble is one of quantiles (`qp.quant`). Its `ancil` has `zmode`, `zmean`, `zmedian`, `z_pred` and
    `calibrated`; `out_of_domain` where the model knows the ranges of its training. A galaxy outside the calibrated
    range has `calibrated` false, and a flat p(z) from `zmin` to `zmax`: nothing is known of it.

    Raises:
        BadInput: naming the column that is missing or of another shape, or the model that has no calibration.
        BadCheckpoint: the model is broken.
    """

    name = "CosmicFlowsEstimator"
    config_options = CatEstimator.config_options | {
        "calibration": StageParameter(str, "", msg="file of cosmic calibrate; else the one beside the model"),
        "engine": StageParameter(str, ENGINES[0], msg=f"one of {', '.join(ENGINES)}"),
        "images": StageParameter(str, "images", msg="column of cut-outs"),
        "magnitudes": StageParameter(str, "magnitudes", msg="column of the magnitudes of all bands"),
        "magnitude_columns": StageParameter(list, [], msg="a column for each band, in place of magnitudes"),
        "threads": StageParameter(int, 0, msg="0 is one for every core"),
    }

    @classmethod
    def default_distribution_type(cls) -> DistributionType:
        """A posterior, over galaxies like those of the calibration."""
        return DistributionType.posterior

    @classmethod
    def generate_command(cls, *args: Any, **kwargs: Any) -> str:
        """How a pipeline starts the stage: by its module, because `python -m tasks` is no program."""
        command = str(super().generate_command(*args, **kwargs))
        return command.replace(f"-m {__name__.partition('.')[0]} {cls.name}", f"-m ceci {__name__}.{cls.name}", 1)

    def open_model(self, tag: str = "model", **kwargs: Any) -> Any:
        """Open the model, a path or a handle that has one, and its calibration."""
        given = kwargs.get(tag, self.config.get(tag))
        path = Path(str(getattr(given, "path", given)))
        if not path.is_file():
            raise BadInput(f"model: there is no file {shorten(str(path), 200)}")
        beside = path.with_name(calibration_key(path.name))
        file = Path(self.config.calibration) if self.config.calibration else beside
        if not file.is_file():
            raise BadInput(
                f"{path} has no p(z): there is no calibration {file.name} beside it;"
                f" make one with cosmic calibrate --to {beside}"
            )
        self._calibration = Calibration.read(file.read_bytes(), str(file), content_hash(path))
        self.config[tag] = str(path)
        self.model = open_engine(self.config.engine, path, threads=self.config.threads)
        known = self.model.training_data
        self._band = R_BAND if known is None else known.reference_band
        return self.model

    def _process_chunk(self, start: int, end: int, data: Any, first: bool) -> None:
        images = np.asarray(self._column(data, self.config.images), np.float32)
        names = self.config.magnitude_columns
        magnitudes = np.asarray(
            np.stack([self._column(data, name) for name in names], axis=1)
            if names
            else self._column(data, self.config.magnitudes),
            np.float64,
        )
        columns = predict_columns(self.model, images, magnitudes)
        z_pred, mag_r = columns[REDSHIFT].astype(np.float64), magnitudes[:, self._band]
        spread = own_spread(columns)
        calibrated = self._calibration.bins(z_pred, mag_r, spread) >= 0
        levels, locations = self._calibration.fine_quantiles(z_pred, mag_r, spread)
        unknown = self.config.zmin + levels * (self.config.zmax - self.config.zmin)
        ancil = {"z_pred": z_pred, "calibrated": calibrated}
        for name, values in self._calibration.point_estimates(z_pred, mag_r, spread).items():
            ancil[f"z{name}"] = np.where(calibrated, values, z_pred)
        if OUT_OF_DOMAIN in columns:
            ancil[OUT_OF_DOMAIN] = columns[OUT_OF_DOMAIN]
        quantiles = {"quants": levels, "locs": np.where(calibrated[:, None], locations, unknown)}
        self._do_chunk_output(qp.Ensemble(qp.quant, data=quantiles, ancil=ancil), start, end, first, data=data)

    def _column(self, data: Any, name: str) -> Any:
        if name not in data:
            listed = ", ".join(shorten(str(column)) for column in list(data)[:20])
            raise BadInput(f"the table has no column {shorten(name)}; its columns are {listed}")
        return data[name]

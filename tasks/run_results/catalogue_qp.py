"""A run's p(z) as qp reads them: an ensemble of quantiles in HDF5, one distribution for each object.

qp (Malz et al. 2018, AJ 156, 35; the library `qp-prob`) is what RAIL's stages pass to each other. The ensemble's
`ancil` table has `object_id`, `zmode`, `zmean`, `zmedian` and, where a spectroscopic redshift is known for some object,
`redshift` (NaN where it is not); `out_of_domain` where the model knows its training.
"""

from typing import Any

import numpy as np

from inference.engines.columns import OUT_OF_DOMAIN
from inference.errors import BadInput
from inference.storage.temporary import temporary_folder
from tasks.photoz.calibration import Calibration
from tasks.photoz.magnitude import magnitude_of
from tasks.photoz.spread import own_spread
from tasks.run_results.catalogue import Catalogue


def has_p_of_z(catalogue: Catalogue, calibration: Calibration | None) -> np.ndarray:
    """Which objects lie in the calibrated range, (N,) booleans.

    Raises:
        BadInput: the run has no calibration, or none of its objects lies in the calibrated range.
    """
    if calibration is None:
        raise BadInput(
            "the run has no p(z), because its model has no calibration: make one with cosmic calibrate, and run again"
        )
    rows = catalogue.rows
    inside = (
        calibration.bins(rows["z_pred"].to_numpy(), rows[magnitude_of(rows.columns)].to_numpy(), own_spread(rows)) >= 0
    )
    if not inside.any():
        raise BadInput("no object of the run lies in the range that was calibrated, so none has a p(z)")
    return np.asarray(inside)


def qp_bytes(catalogue: Catalogue, calibration: Calibration | None) -> bytes:
    """The ensemble as the bytes of an HDF5 file. Objects outside the calibrated range have no p(z) and are left out.

    Raises:
        BadInput: qp is not installed, or there is no p(z) (`has_p_of_z`).
    """
    inside = has_p_of_z(catalogue, calibration)
    assert calibration is not None  # noqa: S101 (has_p_of_z refuses it)
    try:
        import qp
    except ImportError:
        raise BadInput("the format qp needs the library qp: pip install 'cosmic-flows[formats]'") from None
    rows = catalogue.rows[inside]
    z_pred, magnitude = rows["z_pred"].to_numpy(np.float64), rows[magnitude_of(rows.columns)].to_numpy()
    spread = own_spread(rows)
    levels, locations = calibration.fine_quantiles(z_pred, magnitude, spread)
    ancil: dict[str, Any] = {"object_id": rows["object_id"].to_numpy(dtype=str)}
    ancil |= {f"z{name}": values for name, values in calibration.point_estimates(z_pred, magnitude, spread).items()}
    if rows["z_spec"].notna().any():
        ancil["redshift"] = rows["z_spec"].to_numpy(np.float64)
    if OUT_OF_DOMAIN in rows:
        ancil[OUT_OF_DOMAIN] = rows[OUT_OF_DOMAIN].to_numpy(bool)
    ensemble = qp.Ensemble(qp.quant, data={"quants": levels, "locs": locations}, ancil=ancil)
    with temporary_folder("qp") as folder:  # qp writes by path, and tells the format from the name
        path = folder / "ensemble.hdf5"
        ensemble.write_to(str(path))
        return path.read_bytes()

"""A run's redshifts as Parquet with the columns of Rubin's photo-z tables.

`objectId`, then `<name>_z_mode`, `_z_mean`, `_z_median`, `_z_err68_low`, `_z_err68_high`, `_z_err95_low` and
`_z_err95_high`, where `<name>` is the estimator's. Bounds are absolute redshifts, not distances. Source: Rubin
Observatory, DMTN-049, "A Roadmap to Photometric Redshifts for the LSST Object Catalog".
"""

import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inference.errors import BadInput
from tasks.photoz.calibration import Calibration
from tasks.photoz.magnitude import magnitude_of
from tasks.photoz.spread import own_spread
from tasks.run_results.catalogue import Catalogue
from tasks.run_results.catalogue_qp import has_p_of_z

DEFAULT_NAME = "cosmic"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,30}")


def rubin_bytes(catalogue: Catalogue, calibration: Calibration | None, name: str = DEFAULT_NAME) -> bytes:
    """The table as the bytes of a Parquet file; what an object outside the calibrated range has not is null.

    Object ids that are whole numbers become 64-bit integers, as `objectId` is; others stay text.

    Args:
        catalogue: a run's redshifts.
        calibration: that its intervals come from.
        name: of the estimator, the columns' prefix.

    Raises:
        BadInput: the name is none, or there is no p(z) (`has_p_of_z`).
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"--name must be a letter and up to 30 letters and digits, not {name!r:.60}")
    has_p_of_z(catalogue, calibration)
    assert calibration is not None  # noqa: S101 (has_p_of_z refuses it)
    rows = catalogue.rows
    z_pred, magnitude = rows["z_pred"].to_numpy(np.float64), rows[magnitude_of(rows.columns)].to_numpy()
    spread = own_spread(rows)
    values = calibration.point_estimates(z_pred, magnitude, spread)
    columns = {"objectId": _ids(rows["object_id"].to_numpy(dtype=str))}
    columns |= {f"{name}_z_{point}": _nullable(values[point]) for point in ("mode", "mean", "median")}
    columns |= {
        f"{name}_{bound}": _nullable(ends) for bound, ends in calibration.bounds(z_pred, magnitude, spread).items()
    }
    for place in ("ra", "dec"):
        if place in rows:
            columns[place] = _nullable(rows[place].to_numpy(np.float64))
    table = pa.table(columns)
    facts = catalogue.provenance | {"partitions": catalogue.partitions.to_dict("records")}
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"cosmic": json.dumps(facts)}), out, compression="zstd")
    return out.getvalue()


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, from_pandas=True)


def _ids(texts: np.ndarray) -> pa.Array:
    try:
        numbers = texts.astype(np.int64)
    except (ValueError, OverflowError):
        return pa.array(texts)
    same = bool((numbers.astype(str) == texts).all())  # a leading zero would be lost
    return pa.array(numbers if same else texts)

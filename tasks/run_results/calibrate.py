"""The calibration of the model that a run used, from the run's own redshifts."""

import uuid

from inference.contract.object_keys import RESERVED, calibration_key
from inference.errors import BadInput, StoreError
from inference.storage.lease import Lease
from inference.storage.store import Store
from tasks.photoz.calibration import Calibration
from tasks.photoz.conformal import calibrate
from tasks.photoz.magnitude import fact_of, magnitude_of
from tasks.photoz.spread import own_spread
from tasks.run_results.catalogue import open_catalogue, read_catalogue


def calibrate_run(store: Store, bucket: str, result_path: str, *, partial: bool = False) -> tuple[str, Calibration]:
    """Calibrate a model on the galaxies of a run whose redshift is known, and put it beside the model's weights.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        partial: take what is there of an incomplete run.

    Returns:
        The key beside the model's weights where the calibration lies, and the calibration.

    Raises:
        BadInput: no finished run, one of a script, or too few galaxies with a known redshift.
        LeaseHeldError: another command calibrates this model; nothing was written.
        StoreError: the store cannot be read or written, or another run ended there meanwhile, perhaps of another model.
    """
    with open_catalogue(store, bucket, result_path, partial=partial) as opened:
        facts = opened.provenance
    model, sha256 = facts["model"], facts["model_sha256"]
    if not isinstance(model, str) or not isinstance(sha256, str):
        raise BadInput(f"{bucket}/{result_path} is a run of a script, which has no model to calibrate")
    key = calibration_key(model)
    holder = f"cosmic calibrate {uuid.uuid4().hex[:8]}"
    with Lease(store, bucket, f"{key}{RESERVED}", holder, f"{bucket}/{key}").keep(temporary=True) as held:
        catalogue = read_catalogue(store, bucket, result_path, partial=partial)
        if catalogue.provenance["run_id"] != facts["run_id"]:
            raise StoreError(f"another run of {bucket}/{result_path} ended just now: calibrate again")
        rows = catalogue.rows
        made = {name: facts[name] for name in ("run_id", "result_path", "created", "data", "data_etag", "precision")}
        column = magnitude_of(rows.columns)
        made |= fact_of(column)
        z_pred, z_spec, magnitude = (rows[name].to_numpy() for name in ("z_pred", "z_spec", column))
        calibration = calibrate(z_pred, z_spec, magnitude, sha256, made, spread=own_spread(rows))
        held.check()
        store.write(bucket, key, calibration.to_json())
    return key, calibration

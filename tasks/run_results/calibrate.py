"""The calibration of the model that a run used, from the run's own redshifts."""

from inference.contract.object_keys import calibration_key
from inference.errors import BadInput
from inference.storage.store import Store
from tasks.photoz.calibration import Calibration, calibrate
from tasks.photoz.spread import own_spread
from tasks.run_results.catalogue import read_catalogue


def calibrate_run(store: Store, bucket: str, result_path: str, *, partial: bool = False) -> tuple[str, Calibration]:
    """Calibrate a model on the galaxies of a run whose redshift is known.

    Args:
        store: the object store.
        bucket: of the run.
        result_path: of the run.
        partial: take what is there of an incomplete run.

    Returns:
        The key beside the model's weights where the calibration belongs, and the calibration.

    Raises:
        BadInput: no finished run, one of a script, or too few galaxies with a known redshift.
        StoreError: the store cannot be read.
    """
    catalogue = read_catalogue(store, bucket, result_path, partial=partial)
    facts = catalogue.provenance
    model, sha256 = facts["model"], facts["model_sha256"]
    if not isinstance(model, str) or not isinstance(sha256, str):
        raise BadInput(f"{bucket}/{result_path} is a run of a script, which has no model to calibrate")
    rows = catalogue.rows
    made = {name: facts[name] for name in ("run_id", "result_path", "created", "data", "data_etag", "precision")}
    z_pred, z_spec, mag_r = (rows[name].to_numpy() for name in ("z_pred", "z_spec", "mag_r"))
    return calibration_key(model), calibrate(z_pred, z_spec, mag_r, sha256, made, spread=own_spread(rows))

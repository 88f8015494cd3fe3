"""preflight: everything that a run needs is looked at before its first write."""

from inference.contract.run_request import RunRequest
from inference.errors import BadInput, StoreError
from inference.runs.plan import check_complete, select_files
from inference.storage.store import Store, check_writable
from tasks.staging.scripts import find_script
from tasks.staging.weights import find_weights
from tasks.survey.partitions import made_before


def check(request: RunRequest, store_root: str) -> None:
    """Look at everything that a run needs, and write nothing.

    Raises:
        BadInput: the model, the partitions, their source or the store are not as they must be.
    """
    store = Store(store_root)
    check_writable(store)
    try:
        if not store.is_local and not store.has_bucket(request.bucket):
            raise BadInput(f"bucket: there is no bucket {request.bucket}: `cosmic init {request.bucket} --store s3://`")
        if made_before(request, store) is None and request.partition is None:
            check_complete(store, request.data_bucket, request.data_prefix)
            select_files(store.list(request.data_bucket, request.data_prefix), request)
        if request.script is None:
            find_weights(request, store)
        else:
            find_script(request, store)
    except StoreError as error:  # nothing has been written yet
        raise BadInput(str(error)) from error

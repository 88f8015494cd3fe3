"""What a request runs, as it lies staged in its bucket."""

import hashlib

from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.errors import BadInput
from inference.runs.plan import Model
from inference.scripts.run_script import script_hash
from inference.storage.store import Store


def staged(store: Store, request: RunRequest) -> Model | Script:
    """What the request runs, as it lies in its bucket.

    Raises:
        BadInput: it does not lie there.
    """
    if request.S3_object_name is not None:
        there = store.list(request.bucket, request.S3_object_name)
        if request.object_type == "file" and (file := store.head(request.bucket, request.S3_object_name)):
            there = [file]
        script = request.script_at(script_hash(there))
        if script is not None and script.key in {stored.key for stored in there}:
            return script
        raise BadInput(f"script: there is no {request.script} in {request.bucket}: stage its folder first")
    if request.model is None or store.head(request.bucket, request.model) is None:
        raise BadInput(
            f"model: there is no staged {request.model or 'model'} in {request.bucket}: `cosmic run` stages it, and a"
            " request for the state machine names its key"
        )
    sha256 = hashlib.sha256(store.read(request.bucket, request.model)).hexdigest()
    return Model(request.model, sha256, _graph(store, request, request.model, sha256))


def _graph(store: Store, request: RunRequest, model: str, sha256: str) -> str | None:
    if request.engine != "onnxruntime":
        return None
    start = f"{model.removesuffix('.safetensors')}.{sha256[:16]}-"
    folder = model.rpartition("/")[0]
    graphs = [stored.key for stored in store.list(request.bucket, folder) if stored.key.startswith(start)]
    graphs = [key for key in graphs if key.endswith(".onnx")]
    if not graphs:
        raise BadInput(f"model: {model} has no exported graph beside it in {request.bucket}: `cosmic run` stages it")
    return graphs[-1]

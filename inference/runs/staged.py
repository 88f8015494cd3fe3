"""What a request runs, as it lies staged in its bucket."""

import hashlib
from pathlib import Path
from tempfile import NamedTemporaryFile

from inference.contract.object_keys import checked_key
from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.errors import BadInput
from inference.model.checkpoint import graph_name, read_header
from inference.model.onnx_file import is_onnx_file
from inference.model.training_data import TrainingData
from inference.runs.manifest import read_manifest
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
    if request.model is None or store.head(request.bucket, checked_key(request.model, "model")) is None:
        raise BadInput(
            f"model: there is no staged {request.model or 'model'} in {request.bucket}: `cosmic run` stages it, and a"
            " request for the state machine names its key"
        )
    sha256 = _sha256(store, request.bucket, request.model)
    if request.engine != "onnxruntime" or is_onnx_file(request.model):
        return Model(request.model, sha256)
    folder, slash, name = request.model.rpartition("/")
    graph = f"{folder}{slash}{graph_name(name.removesuffix('.safetensors'), sha256, request.precision)}"
    if store.head(request.bucket, graph) is None:
        raise BadInput(
            f"model: {request.model} has no exported {request.precision} graph beside it in {request.bucket}:"
            " `cosmic run` stages it"
        )
    graph_sha256 = _sha256(store, request.bucket, graph)
    noted = read_manifest(store, request.bucket, graph).get(graph)
    if noted is not None and noted.sha256 != graph_sha256:
        raise BadInput(f"model: the graph {graph} in {request.bucket} has changed: `cosmic run` stages it again")
    return Model(request.model, sha256, graph, graph_sha256)


def trained_on(store: Store, request: RunRequest) -> TrainingData | None:
    """What the request's staged model was trained on; None where it does not say, or is no checkpoint of ours.

    Raises:
        BadCheckpoint: its header is damaged.
    """
    if request.model is None or is_onnx_file(request.model):
        return None
    local = store.local_path(request.bucket, request.model)
    if local is not None:
        return read_header(local)[1]
    with NamedTemporaryFile(prefix="cosmic-model-") as copy:
        store.download(request.bucket, request.model, Path(copy.name))
        return read_header(Path(copy.name))[1]


def _sha256(store: Store, bucket: str, key: str) -> str:
    return hashlib.sha256(store.read(bucket, key)).hexdigest()

"""A request's weights: found, checked, and put into the run's bucket."""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from inference.contract.object_keys import calibration_key, checked_key
from inference.contract.run_request import RunRequest
from inference.contract.sample import IMAGE_SHAPE
from inference.errors import BadCheckpoint, BadInput
from inference.model.checkpoint import content_hash, export_onnx, load, onnx_path, read_config, read_header
from inference.model.onnx_file import is_onnx_file
from inference.model.training_data import TrainingData
from inference.runs.manifest import note_object, read_manifest
from inference.runs.plan import Model
from inference.storage.atomic_write import atomic_write
from inference.storage.store import Store
from tasks.photoz.calibration import Calibration
from tasks.reporting.terminal import waiting
from tasks.staging.own_model import look_at_own_model

ImageShape = tuple[int, int, int]
DEMO_WEIGHTS = Path(str(files("inference") / "weights" / "demo.safetensors"))


@dataclass(frozen=True)
class Weights:
    """A checkpoint that has been looked at and found fit, before anything is written.

    Attributes:
        path: the file.
        key: where it lies or will lie in the run's bucket.
        sha256: its content hash.
        graph: the exported graph, None for the torch engine and for an `.onnx` model; `precision` is its own.
        in_bucket: the request names a key in the bucket, so that the weights are staged already.
        training_data: what they were trained on, None where they do not say.
        calibration: the bytes of their uncertainty: of the file beside the weights, or what stands for it where a model
            gives its own; None where there is neither.
    """

    path: Path
    key: str
    sha256: str
    graph: Path | None
    precision: str = "float32"
    in_bucket: bool = False
    calibration: bytes | None = None
    training_data: TrainingData | None = None


def find_weights(request: RunRequest, store: Store, galaxies: ImageShape = IMAGE_SHAPE) -> Weights:
    """Find the request's model, a key in the bucket or else a file, and make its graph where the engine needs one.

    Args:
        request: the checked request.
        store: the object store.
        galaxies: bands, height and width of the cut-outs that it is to be run over.

    Raises:
        BadInput: there is no such model, or its calibration is damaged or of another model.
        BadCheckpoint: it is of another architecture, or broken.
    """
    if request.model is None:
        path, key = DEMO_WEIGHTS, None
    else:
        found = _find(request.model, request.bucket, store)
        if found is None:
            raise BadInput(f"model: there is neither a key {request.model!r} in {request.bucket} nor such a file")
        path, key = found
    if is_onnx_file(path):
        return _own_model(path, key, request, store, galaxies)
    _check_shape(path, read_config(path).image_shape, galaxies)
    if request.engine == "torch":
        load(path)  # the export for the other engine looks at every tensor, too
    sha256 = content_hash(path)
    graph = _graph(path, request.precision) if request.engine == "onnxruntime" else None
    place = key or f"models/{path.stem}-{sha256[:16]}.safetensors"
    config, training_data = read_header(path)
    calibration = _calibration_of(path, sha256, gives_uncertainty=config.head == "quantiles")
    stored_calibration(store, request.bucket, place, sha256)
    return Weights(path, place, sha256, graph, request.precision, key is not None, calibration, training_data)


def _calibration_of(path: Path, sha256: str, *, gives_uncertainty: bool) -> bytes | None:
    """The calibration in the folder of the weights, which must be theirs; else what stands for one, or None."""
    beside = path.with_name(calibration_key(path.name))
    if not beside.is_file():
        return Calibration.normal(sha256).to_json() if gives_uncertainty else None
    content = beside.read_bytes()
    Calibration.read(content, str(beside), sha256)
    return content


def look_at_model(request: RunRequest, store: Store) -> bool:
    """Whether the request's model, which it names, is there; what is there is looked at as far as its header tells.

    Raises:
        BadCheckpoint: it is of another architecture, or broken.
        StoreError: the store cannot be read.
    """
    found = _find(str(request.model), request.bucket, store)
    if found is not None and not is_onnx_file(found[0]):
        _check_shape(found[0], read_config(found[0]).image_shape, IMAGE_SHAPE)
    return found is not None


def _check_shape(path: Path, model: ImageShape, galaxies: ImageShape) -> None:
    if model != galaxies:
        raise BadCheckpoint(
            f"{path} takes images of {model[0]} bands and {model[1]} pixels a side; partitions hold"
            f" {galaxies[0]} and {galaxies[1]}"
        )


def stored_calibration(store: Store, bucket: str, model: str, sha256: str) -> Calibration | None:
    """The calibration that lies beside a model in a bucket, None where there is none.

    Raises:
        BadInput: it is damaged, or of another model.
        StoreError: the store cannot be read.
    """
    key = calibration_key(model)
    if store.head(bucket, key) is None:
        return None
    return Calibration.read(store.read(bucket, key), f"{bucket}/{key}", sha256)


def _own_model(path: Path, key: str | None, request: RunRequest, store: Store, galaxies: ImageShape) -> Weights:
    """A model of the user's own, which is its own graph."""
    own = look_at_own_model(path, request.engine, request.precision)
    _check_shape(path, own.image_shape, galaxies)
    sha256 = content_hash(path)
    place = key or f"models/{path.stem}-{sha256[:16]}.onnx"
    calibration = _calibration_of(path, sha256, gives_uncertainty=own.gives_uncertainty)
    stored_calibration(store, request.bucket, place, sha256)
    return Weights(path, place, sha256, None, request.precision, key is not None, calibration, own.training_data)


def _graph(path: Path, precision: str) -> Path:
    graph = onnx_path(path, precision)
    if graph.exists():
        return graph
    with waiting(f"Exporting {path.name} for onnxruntime, once for these weights"):
        return export_onnx(path, precision)


def _find(model: str, bucket: str, store: Store) -> tuple[Path, str | None] | None:
    """The model's file, and its key where it lies in the bucket; None where there is no such model."""
    file = Path(os.path.expanduser(model))  # noqa: PTH111 - Path's raises where there is no such user
    is_key = not model.startswith(("/", "~", "./", "../"))
    if is_key:
        key = checked_key(model, "model")
        if store.head(bucket, key) is not None:
            local = store.local_path(bucket, key)
            return (local, key) if local is not None else (_downloaded(store, bucket, key), key)
    if os.path.isfile(file):  # noqa: PTH113 - Path's raises where the name is too long
        return file, None
    return None


def _downloaded(store: Store, bucket: str, key: str) -> Path:
    """A copy of the object in the user's cache, named by its ETag and verified by its size."""
    stored = store.head(bucket, key)
    folder = Path.home() / ".cache" / "cosmic-flows" / "models"
    copy = folder / f"{(stored.etag if stored else '')}-{Path(key).name}"
    if stored is None or not copy.exists() or copy.stat().st_size != stored.size:
        with atomic_write(copy) as partial:
            partial.write_bytes(store.read(bucket, key))
    return copy


def put_weights(weights: Weights, bucket: str, store: Store) -> tuple[Model, list[str]]:
    """Put weights and graph into the bucket unless they are there unchanged; return the model and the keys written.

    A calibration that lies in the bucket stays: it may have been made for this bucket's survey.
    A graph that lies in the bucket with other bytes than were staged is replaced; where it is its own source, because
    the store is a folder, it is exported again.

    Raises:
        StoreError: the bucket cannot be written.
    """
    written = []
    if not weights.in_bucket and _put(store, bucket, weights.key, weights.path, weights.sha256):
        written.append(weights.key)
    calibration = calibration_key(weights.key)
    if weights.calibration is not None and store.head(bucket, calibration) is None:
        store.write(bucket, calibration, weights.calibration)
        written.append(calibration)
    if weights.graph is None:
        return Model(weights.key, weights.sha256), written
    stem = weights.key.removesuffix(".safetensors")
    key = f"{stem}.{weights.graph.name.removeprefix(weights.path.stem + '.')}"
    sha256 = content_hash(weights.graph)
    noted = read_manifest(store, bucket, key).get(key)
    if noted is not None and noted.sha256 != sha256 and weights.graph == store.local_path(bucket, key):
        weights.graph.unlink()
        sha256 = content_hash(export_onnx(weights.path, weights.precision))
    if _put(store, bucket, key, weights.graph, sha256):
        written.append(key)
    return Model(weights.key, weights.sha256, key, sha256), written


def _put(store: Store, bucket: str, key: str, path: Path, sha256: str) -> bool:
    """Make the object what the file is; False if it was that already."""
    there = store.head(bucket, key)
    noted = read_manifest(store, bucket, key).get(key)
    if there is not None and noted is not None and (noted.sha256, noted.etag) == (sha256, there.etag):
        return False
    is_source = path == store.local_path(bucket, key)
    if not is_source:
        store.write(bucket, key, path)
    note_object(store, bucket, key, sha256)
    return not is_source

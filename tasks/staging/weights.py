"""A request's weights: found, checked, and put into the run's bucket."""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from inference.contract.object_keys import checked_key
from inference.contract.run_request import RunRequest
from inference.contract.sample import IMAGE_SHAPE
from inference.errors import BadCheckpoint, BadInput
from inference.model.checkpoint import content_hash, export_onnx, load, onnx_path, read_config
from inference.runs.plan import Model
from inference.storage.store import Store
from tasks.reporting.terminal import waiting

DEMO_WEIGHTS = Path(str(files("inference") / "weights" / "demo.safetensors"))


@dataclass(frozen=True)
class Weights:
    """A checkpoint that has been looked at and found fit, before anything is written.

    Attributes:
        path: the file.
        key: where it lies or will lie in the run's bucket.
        sha256: its content hash.
        graph: the exported graph, None for the torch engine.
    """

    path: Path
    key: str
    sha256: str
    graph: Path | None


def find_weights(request: RunRequest, store: Store) -> Weights:
    """Find the request's model, a key in the bucket or else a file, and make its graph where the engine needs one.

    Raises:
        BadInput: there is no such model.
        BadCheckpoint: it is of another architecture, or broken.
    """
    if request.model is None:
        path, key = DEMO_WEIGHTS, None
    else:
        path, key = _locate(request.model, request.bucket, store)
    config = read_config(path)
    if (config.bands, config.image_size, config.image_size) != IMAGE_SHAPE:
        raise BadCheckpoint(
            f"{path} takes images of {config.bands} bands and {config.image_size} pixels a side; partitions hold"
            f" {IMAGE_SHAPE[0]} and {IMAGE_SHAPE[1]}"
        )
    if request.engine == "torch":
        load(path)  # the export for the other engine looks at every tensor, too
    sha256 = content_hash(path)
    graph = _graph(path, request.precision) if request.engine == "onnxruntime" else None
    return Weights(path, key or f"models/{path.stem}-{sha256[:16]}.safetensors", sha256, graph)


def _graph(path: Path, precision: str) -> Path:
    graph = onnx_path(path, precision)
    if graph.exists():
        return graph
    with waiting(f"Exporting {path.name} for onnxruntime, once for these weights"):
        return export_onnx(path, precision)


def _locate(model: str, bucket: str, store: Store) -> tuple[Path, str | None]:
    file = Path(os.path.expanduser(model))  # noqa: PTH111 - Path's raises where there is no such user
    is_key = not model.startswith(("/", "~", "./", "../"))
    if is_key:
        key = checked_key(model, "model")
        if store.head(bucket, key) is not None:
            local = store.local_path(bucket, key)
            return (local, key) if local is not None else (_downloaded(store, bucket, key), key)
    if os.path.isfile(file):  # noqa: PTH113 - Path's raises where the name is too long
        return file, None
    raise BadInput(f"model: there is neither a key {model!r} in {bucket} nor such a file")


def _downloaded(store: Store, bucket: str, key: str) -> Path:
    stored = store.head(bucket, key)
    folder = Path.home() / ".cache" / "cosmic-flows" / "models"
    copy = folder / f"{(stored.etag if stored else '')}-{Path(key).name}"
    if not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = copy.with_suffix(".partial")
        partial.write_bytes(store.read(bucket, key))
        partial.replace(copy)
    return copy


def put_weights(weights: Weights, bucket: str, store: Store) -> tuple[Model, list[str]]:
    """Put weights and graph into the bucket where they are not there yet; return the model and the keys written."""
    stem = weights.key.removesuffix(".safetensors")
    graph_key = None
    if weights.graph is not None:
        graph_key = f"{stem}.{weights.graph.name.removeprefix(weights.path.stem + '.')}"
    written = []
    wanted = [(weights.key, weights.path), (graph_key, weights.graph)]
    for key, path in wanted:
        if key is None or path is None:
            continue
        there = store.head(bucket, key)
        if there is None or there.size != path.stat().st_size:
            store.write(bucket, key, path)
            written.append(key)
    return Model(weights.key, weights.sha256, graph_key), written

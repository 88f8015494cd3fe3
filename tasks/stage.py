"""stage_scripts: what the ranks need besides data, put into the run's bucket once."""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from inference.checkpoint import content_hash, export_onnx, load, onnx_path, read_config
from inference.dataset import IMAGE_SHAPE
from inference.errors import BadCheckpoint, BadInput
from inference.events import Script
from inference.functions import staged
from inference.keys import checked_key
from inference.plan import Model
from inference.request import RunRequest
from inference.store import Store
from tasks.artifacts import create_markdown_artifact
from tasks.display import plain
from tasks.policy import STEP_RETRIES, worth_retrying
from tasks.progress import waiting
from tasks.scripts import look_at_folder, stage_folder

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


def find_script(request: RunRequest, store: Store) -> Path | None:
    """See that the request's script is there, or its source to be staged; return that source.

    Raises:
        BadInput: it is not, or the script is not in it.
    """
    if request.script_source is None:
        staged(store, request)
        return None
    source = Path(request.script_source).expanduser()
    script = request.script_at("")
    assert script is not None and request.S3_object_name is not None  # noqa: S101 - the request's own check
    keys = look_at_folder(source, request.S3_object_name)
    if script.key not in keys:
        raise BadInput(f"script: {request.script} is not in script_source {source}")
    return source


def _stage_script(request: RunRequest, store: Store) -> tuple[Script, str]:
    source = find_script(request, store)
    told = "There already; nothing was staged from here."
    if source is not None and request.S3_object_name is not None:
        done = stage_folder(store, request.bucket, request.S3_object_name, source)
        told = (
            f"From {plain(source)}: {done.uploaded} files uploaded ({done.bytes / 1e6:.2f} MB),"
            f" {done.unchanged} unchanged, {done.removed} removed."
        )
    what = staged(store, request)
    assert isinstance(what, Script)  # noqa: S101 - the request has one
    return what, f"Script {plain(what.key)} in bucket `{request.bucket}`. {told}"


@task(
    name="stage scripts",
    retries=STEP_RETRIES,
    retry_delay_seconds=1,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,  # a retried flow run looks again at what lies in the store
)
def stage_scripts(request: RunRequest, store_root: str) -> Model | Script:
    """Stage the request's script or model in its bucket; publishes what was staged as an artifact.

    Raises:
        BadInput: see `find_weights`.
        StoreError: the bucket cannot be written.
    """
    store = Store(store_root)
    if request.script is not None:
        script, told = _stage_script(request, store)
        create_markdown_artifact(told, key="cosmic-staged", description="What the ranks need besides data")
        return script
    weights = find_weights(request, store)
    model, written = put_weights(weights, request.bucket, store)
    size = f"{weights.path.stat().st_size / 1e6:.2f} MB"
    rows = [f"| weights | {plain(model.key)} | {size} | {_state(model.key, written)} |"]
    if weights.graph is not None and model.graph is not None:
        rows.append(
            f"| graph for {request.engine} | {plain(model.graph)} | {weights.graph.stat().st_size / 1e6:.2f} MB"
            f" | {_state(model.graph, written)} |"
        )
    create_markdown_artifact(
        "\n".join(["| what | key | size | |", "| --- | --- | ---: | --- |", *rows])
        + f"\n\nIn bucket `{request.bucket}`. SHA-256 of the weights: `{model.sha256}`.",
        key="cosmic-staged",
        description="What the ranks need besides data",
    )
    return model


def _state(key: str, written: list[str]) -> str:
    return "uploaded" if key in written else "was there already"

"""stage_scripts: what the ranks need besides data is put into the bucket of the run."""

from dataclasses import replace
from pathlib import Path

from prefect.assets import Asset

from inference.contract.counted import counted
from inference.contract.run_request import RunRequest
from inference.contract.script import Script, is_image
from inference.runs.plan import Model
from inference.runs.staged import staged
from inference.storage.store import Store
from tasks.prefect_support.artifacts import create_markdown_artifact
from tasks.prefect_support.assets import file_asset, stored_asset
from tasks.prefect_support.last_line import did
from tasks.prefect_support.step import making_step
from tasks.preflight import Prepared
from tasks.reporting.formatting import file_size, plain
from tasks.staging.scripts import stage_folder
from tasks.staging.weights import Weights, put_weights


def model_lineage(prepared: Prepared) -> tuple[list[Asset | None], list[Asset | None]]:
    """The model that staging puts into the bucket, and the file that it is; nothing where it lies there already."""
    weights = prepared.weights
    if weights is None or weights.in_bucket:
        return [], []
    made = stored_asset(Store(prepared.store_root), prepared.request.bucket, weights.key)
    return [made], [file_asset(weights.path)]


@making_step("stage scripts")
def stage_scripts(prepared: Prepared) -> Model | Script:
    """Stage what the preflight found, script or model, in the run's bucket; publishes what was staged as an artifact.

    Raises:
        BadInput: the script is not as it must be.
        StoreError: the bucket cannot be written.
    """
    store = Store(prepared.store_root)
    if prepared.weights is None:
        workload, text, what = _stage_script(prepared, store)
    else:
        workload, text, what = _stage_model(prepared.request, prepared.weights, store)
    create_markdown_artifact(text, key="cosmic-staged", description="What the ranks need besides data")
    did(what)
    return workload


def _stage_script(prepared: Prepared, store: Store) -> tuple[Model | Script, str, str]:
    request, source = prepared.request, prepared.script_source
    text, what = "There already; nothing was staged from here.", "the script is in the bucket already"
    if source is not None and request.S3_object_name is not None:
        done = stage_folder(store, request.bucket, request.S3_object_name, source)
        text = (
            f"From {plain(source)}: {counted(done.uploaded, 'file')} uploaded ({done.bytes / 1e6:.2f} MB),"
            f" {done.unchanged} unchanged, {done.removed} removed."
        )
        what = f"{counted(done.uploaded, 'file')} of the script uploaded, {file_size(done.bytes)}"
    script = staged(store, request)
    assert isinstance(script, Script)  # noqa: S101 - the request has one
    text = f"Script {plain(script.key)} in bucket `{request.bucket}`. {text}"
    named = prepared.request.script_environment
    return replace(script, requirements=prepared.requirements, image=named if is_image(named) else ""), text, what


def _stage_model(request: RunRequest, weights: Weights, store: Store) -> tuple[Model | Script, str, str]:
    model, written = put_weights(weights, request.bucket, store)

    def row(what: str, key: str, path: Path) -> str:
        upload = "done now" if key in written else "was there already"
        return f"| {what} | {plain(key)} | {path.stat().st_size / 1e6:.2f} MB | {upload} |"

    rows = ["| what | key | size | upload |", "| --- | --- | ---: | --- |", row("weights", model.key, weights.path)]
    if weights.graph is not None and model.graph is not None:
        rows.append(row(f"graph for {request.engine}", model.graph, weights.graph))
    text = "\n".join(rows) + f"\n\nIn bucket `{request.bucket}`. SHA-256 of the weights: `{model.sha256}`."
    pairs = ((model.key, weights.path), (model.graph, weights.graph))
    uploaded = [path.stat().st_size for key, path in pairs if path is not None and key in written]
    if not uploaded:
        return model, text, "the model is in the bucket already"
    return model, text, f"{counted(len(uploaded), 'file')} of the model uploaded, {file_size(sum(uploaded))}"

"""stage_scripts: what the ranks need besides data is put into the bucket of the run."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from inference.contract.run_request import RunRequest
from inference.contract.script import Script
from inference.runs.plan import Model
from inference.runs.staged import staged
from inference.storage.store import Store
from tasks.prefect_support.artifacts import create_markdown_artifact
from tasks.prefect_support.retries import STEP_RETRIES, worth_retrying
from tasks.reporting.formatting import plain
from tasks.staging.scripts import find_script, stage_folder
from tasks.staging.weights import find_weights, put_weights


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

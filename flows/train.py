"""The training: from a recipe and galaxies to weights, a model card and curves."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.assets import Asset

from flows.parameters import DEFAULT_STORE, store_root
from inference.storage.lease import lease_beside
from inference.storage.store import Store
from inference.storage.writable import check_writable
from tasks.prefect_support.assets import file_asset, making, stored_asset
from tasks.prefect_support.last_line import did
from tasks.prefect_support.tags import tag_flow_run
from tasks.train import WEIGHTS, publish_model, train_model
from tasks.training.galaxies import open_galaxies
from tasks.training.recipe import read_recipe


@flow(name="train", flow_run_name="train {to}", validate_parameters=False)
def train(
    data: str,
    to: str,
    recipe: dict[str, Any],
    store: str = DEFAULT_STORE,
    half: bool = False,
    fresh: bool = False,
    device: str | None = None,
) -> dict[str, Any]:
    """Train an AstroMAE.

    Args:
        data: a partition, a folder of partitions, or bucket/prefix in the store.
        to: folder for weights, card, curves and, while it lasts, the training's state.
        recipe: `tasks.training.recipe.read_recipe`.
        store: root of the object store, a folder or `s3://`.
        half: write the weights in half precision, too.
        fresh: begin anew, also where a training was broken off.
        device: "cpu" or "cuda"; default the GPU where there is one.

    Returns:
        Facts, metrics, history and files.

    Raises:
        BadInput: recipe or galaxies cannot be used; nothing was written.
        LeaseHeldError: another process trains into the same folder.
        CosmicError: the training failed on the way; the same call goes on after its last epoch.
    """
    tag_flow_run("train")
    config, checked = read_recipe(recipe)
    folder = Path(to).expanduser().resolve()
    root = store_root(store)
    open_galaxies(data, Store(root)).split(checked.held_out, checked.seed)
    check_writable(Store(folder.parent))
    lease = lease_beside(folder, "cosmic train", f"the training in {folder}")
    with lease.keep(temporary=True) as held:
        trained, facts = train_model(config, checked, data, root, folder, fresh, device, held)
        held.check()
        step = making(publish_model, [file_asset(folder / WEIGHTS)], [_data_asset(data, Store(root))])
        document = step(trained, facts, folder, half)
    did(f"{len(document['files'])} files of the model written to {folder}")
    return document


def _data_asset(data: str, store: Store) -> Asset | None:
    """The galaxies: a file or folder where there is one, else what lies there in the store, as they are opened."""
    bucket, _, prefix = data.partition("/")
    there = Path(data).expanduser().exists()
    return file_asset(data) if there or not prefix else stored_asset(store, bucket, prefix)

"""train: a recipe and galaxies into weights, a model card and curves, as a step."""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference.contract.counted import counted
from inference.contract.json_text import parse_json
from inference.contract.object_keys import calibration_key
from inference.contract.sample import IMAGE_SHAPE
from inference.contract.survey_facts import SurveyFacts, differing_scales
from inference.errors import BadInput, BadPartition
from inference.model.checkpoint import content_hash, save
from inference.model.config import AstroMAEConfig
from inference.storage.atomic_write import atomic_write
from inference.storage.lease import HeldLease
from inference.storage.store import Store
from tasks.prefect_support.artifacts import create_markdown_artifact, create_table_artifact
from tasks.prefect_support.last_line import did
from tasks.prefect_support.page_links import publish_link
from tasks.prefect_support.running_ui import address_of
from tasks.prefect_support.step import making_step, step
from tasks.reporting.formatting import file_size, plain
from tasks.reporting.terminal import bar
from tasks.training.galaxies import open_galaxies
from tasks.training.loop import Trained, train
from tasks.training.recipe import Recipe
from tasks.training.report import card, curves, facts_of, page
from tasks.training.uncertainty import interval_quality, validation_calibration

WEIGHTS, HALF, CARD, PAGE, FACTS = (
    "model.safetensors",
    "model-half.safetensors",
    "card.md",
    "training.html",
    "training.json",
)
STATE = "state"


@step("train")
def train_model(
    config: AstroMAEConfig,
    recipe: Recipe,
    data: str,
    store_root: str,
    folder: Path,
    fresh: bool,
    device: str | None,
    held: HeldLease,
) -> tuple[Trained, dict[str, Any]]:
    """Pre-train and train; another try goes on after the last whole epoch.

    Returns:
        The outcome, and the card's facts.

    Raises:
        BadInput: the galaxies cannot be used.
        LeaseHeldError: another training took the folder over while this one slept; it goes on no further.
        CosmicError: the training diverged, or its state is damaged or cannot be written.
    """
    state = folder / STATE
    if fresh:
        shutil.rmtree(state, ignore_errors=True)
    galaxies = open_galaxies(data, Store(store_root))
    recipe = with_pixel_scale(recipe, galaxies.pixel_scales)
    config, recipe = for_survey(config, recipe, galaxies.facts)
    split = galaxies.split(recipe.held_out, recipe.seed)
    totals = {"training": recipe.epochs}
    if recipe.pretraining is not None:
        totals = {"pretraining": recipe.pretraining.epochs} | totals
    with ExitStack() as drawn:
        show: dict[str, Callable[[int], None]] = {}

        def begin(phase: str) -> None:
            drawn.close()  # one bar at a time, so that each shows its own phase's time
            show[phase] = drawn.enter_context(bar(f"{phase}, epochs", totals[phase]))

        def progress(phase: str, entry: dict[str, Any]) -> None:
            if phase not in show:
                begin(phase)
            show[phase](entry["epoch"])
            held.check()
            if phase == "pretraining" and entry["epoch"] == totals[phase]:
                begin("training")

        begin(next(iter(totals)))
        try:
            trained = train(config, recipe, galaxies, split, state=state, device=device, progress=progress)
        except (
            BadPartition
        ) as error:  # at the latest in the first epoch, which reads all galaxies and has written nothing
            raise BadInput(str(error)) from None
    about = {
        "name": data,
        "galaxies": len(galaxies),
        "pretraining": len(split.pretraining),
        "train": len(split.train),
        "validation": len(split.validation),
        "test": len(split.test),
    }
    did(f"{counted(sum(map(len, trained.history.values())), 'epoch')} over {counted(len(galaxies), 'galaxy')}")
    return trained, facts_of(trained, recipe.to_dict(), config.to_dict(), about)


def for_survey(config: AstroMAEConfig, recipe: Recipe, facts: SurveyFacts) -> tuple[AstroMAEConfig, Recipe]:
    """The model and the recipe for the bands and the cut-outs of the galaxies; as they are for u g r i z of 32 x 32.

    Raises:
        BadInput: the model's patches do not divide such cut-outs, or the recipe's config is of a third shape.
    """
    bands, side, _ = facts.image_shape
    if config.image_shape not in {IMAGE_SHAPE, facts.image_shape}:
        raise BadInput(
            f"the recipe's model takes {config.bands} bands of {config.image_size} pixels, and the galaxies have"
            f" {bands} of {side}: leave bands and image_size out of the recipe"
        )
    if facts.bands is not None:
        recipe = replace(recipe, data=replace(recipe.data, bands=facts.bands))
    return replace(config, bands=bands, image_size=side), recipe


def with_pixel_scale(recipe: Recipe, scales: Sequence[float]) -> Recipe:
    """The recipe with the pixel scale of its galaxies, for the checkpoint's header; as it is where none say theirs.

    Raises:
        BadInput: the galaxies, or they and the recipe, have scales that differ by more than 3 %.
    """
    stated = recipe.data.pixel_scale
    known = sorted([*scales, *([] if stated is None else [stated])])
    if known and differing_scales(known[0], known[-1]):
        raise BadInput(
            f"the galaxies' pixels are of {known[0]:.4g} and of {known[-1]:.4g} arcseconds (data.pixel_scale of the"
            " recipe counted): train on one scale, or resample"
        )
    scale = known[0] if stated is None and known else stated
    return replace(recipe, data=replace(recipe.data, pixel_scale=scale))


@making_step("publish model")
def publish_model(trained: Trained, facts: dict[str, Any], folder: Path, half: bool) -> dict[str, Any]:
    """Write weights, calibration, card, curves and page, publish card and history; the training's state is removed.

    Returns:
        The facts, with the files written and the weights' SHA-256.

    Raises:
        StoreError: the folder cannot be written.
    """
    files = {WEIGHTS: folder / WEIGHTS} | ({HALF: folder / HALF} if half else {})
    for name in (FACTS, HALF, calibration_key(HALF)):
        (folder / name).unlink(missing_ok=True)  # of an earlier training into this folder
    noted = {key: facts[key] for key in ("recipe", "data", "metrics")}
    calibrations = {}
    for name, path in files.items():
        (folder / calibration_key(name)).unlink(missing_ok=True)  # it would belong to other weights
        save(path, trained.model, noted, half=name == HALF, training_data=trained.training_data)
        made = validation_calibration(trained, content_hash(path), facts["data"]["name"])
        if made is not None:
            calibrations[calibration_key(name)] = made
    facts = facts | {"uncertainty": interval_quality(next(iter(calibrations.values()), None), trained.test)}
    text = card(facts, {name: path.stat().st_size for name, path in files.items()})
    document = facts | {"history": trained.history, "sha256": content_hash(folder / WEIGHTS)}
    pictures = {f"curve-{phase}.svg": svg for phase, svg in curves(trained.history).items()}
    texts = {
        CARD: text,
        PAGE: page(trained, facts, str(folder / WEIGHTS)),
        FACTS: json.dumps(document, indent=1),
    } | pictures
    texts |= {name: made.to_json().decode() for name, made in calibrations.items()}
    for name, content in texts.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(content)
    shutil.rmtree(folder / STATE, ignore_errors=True)
    create_markdown_artifact(text, key="cosmic-model-card", description=plain(folder))
    text = f"curves of {plain(folder.name)}"
    publish_link(address_of(folder / PAGE), "cosmic-training-page", text, "the training as a page")
    rows = [{"phase": phase} | entry for phase, entries in trained.history.items() for entry in entries]
    create_table_artifact(rows, key="cosmic-training", description="an entry an epoch")
    written = [path for path in folder.iterdir() if path.is_file()]
    did(f"{counted(len(written), 'file')} in the folder, {file_size(sum(path.stat().st_size for path in written))}")
    return document | _places(folder)


def published_model(folder: Path) -> dict[str, Any] | None:
    """What `publish_model` returned for a folder, read from it; None where no training has ended.

    Raises:
        BadInput: its JSON is damaged.
    """
    folder = folder.expanduser().resolve()
    try:
        document: dict[str, Any] = parse_json((folder / FACTS).read_bytes(), str(folder / FACTS))
    except OSError:
        return None
    return document | _places(folder)


def _places(folder: Path) -> dict[str, Any]:
    names = (WEIGHTS, HALF, calibration_key(WEIGHTS), calibration_key(HALF))
    files = {name: str(folder / name) for name in names if (folder / name).exists()}
    return {"files": files, "page": str(folder / PAGE), "card": str(folder / CARD)}

"""cosmic train: an AstroMAE on a partitioned set of galaxies."""

import argparse
import json
from pathlib import Path
from typing import Any

from flows.cli import prefect_server as prefect_api
from flows.cli.options import add_json, add_store
from flows.cli.terminal import print_json, say, show_table
from inference.contract.counted import counted
from inference.contract.documents import read_document
from inference.contract.json_text import parse_json
from inference.errors import BadInput
from inference.storage.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("data", metavar="DATA", help="a partition, a folder of partitions, or bucket/prefix")
    parser.add_argument("--to", required=True, metavar="FOLDER", help="for weights, model card and curves")
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE.json", help="deployments/training/ has some (default the small model)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, as epochs=3 or pretraining.epochs=5",
    )
    parser.add_argument(
        "--head",
        choices=("point", "quantiles"),
        help="what the model gives: a redshift (default), or that with its 16 and 84 %% quantiles",
    )
    parser.add_argument("--half", action="store_true", help="write the weights in half precision, too")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default the GPU where there is one")
    parser.add_argument("--fresh", action="store_true", help="begin anew, also where a training was broken off")
    add_store(parser)
    parser.add_argument("--verbose", action="store_true", help="show Prefect's own log")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Check, train, show."""
    prefect_api.hush(verbose=args.verbose)
    from inference.model.require_torch import require_torch
    from tasks.training.galaxies import open_galaxies
    from tasks.training.recipe import read_recipe

    require_torch("train")
    recipe = _changed(_document(args.recipe) if args.recipe is not None else {}, args.set)
    if args.head is not None and isinstance(recipe, dict):
        recipe = recipe | {"head": args.head}
    _, checked = read_recipe(recipe)
    if Path(args.data).is_file():  # a file of another sort is refused before a server starts
        open_galaxies(args.data, Store(args.store)).split(checked.held_out, checked.seed)
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BadInput("--device cuda: torch finds no CUDA device here")
    with prefect_api.connected(
        verbose=args.verbose, left="finished epochs are kept, and the same command goes on from there"
    ) as ready:
        from httpx import HTTPError

        from flows.train import train
        from tasks.prefect_support.artifacts import give_up
        from tasks.train import published_model

        ready()
        known = published_model(Path(args.to))
        order = (args.data, args.to, recipe, args.store, args.half, args.fresh, args.device)
        try:
            document = prefect_api.call(train, *order)
        except HTTPError:
            made = published_model(Path(args.to))
            if made is None or made == known:
                raise
            document = made
            give_up()
            say("The Prefect server went away at the end of the training, which is done all the same.", stderr=True)
    if args.json:
        print_json(document)
        return 0
    from rich.table import Table

    table = Table(title=f"{args.to}: {document['parameters']:,} parameters on {document['device']}")
    table.add_column("phase", style="bold")
    for title in ("epochs", "wall s", "galaxies/s", "last loss"):
        table.add_column(title, justify="right")
    for phase, speed in document["speed"].items():
        last = document["history"][phase][-1]["loss"]
        table.add_row(
            phase, str(speed["epochs"]), f"{speed['seconds']:,.1f}", f"{speed['galaxies_per_s']:,.0f}", f"{last:.4g}"
        )
    show_table(table)
    found = document["metrics"]
    r2 = "unknown" if found["r2"] is None else f"{found['r2']:.3f}"
    say(
        f"on {counted(found['samples'], 'galaxy')} kept for this: NMAD {found['nmad']:.4f}, bias {found['bias']:+.4f},"
        f" R2 {r2}, outliers beyond 0.15 {found['outlier_fraction']:.1%}"
    )
    if (uncertainty := document["uncertainty"]) is None:
        say("no intervals: too few galaxies were kept for validation to calibrate with")
    elif "coverage_68" in uncertainty:
        say(
            f"their 68 % intervals cover {uncertainty['coverage_68']:.1%}, their 95 % intervals"
            f" {uncertainty['coverage_95']:.1%}"
        )
    for path in (*document["files"].values(), document["card"], document["page"]):
        say(str(path))
    return 0


def _document(path: Path) -> Any:
    return parse_json(read_document(path, "the recipe"), f"the recipe {path}")


def _changed(recipe: Any, changes: list[str]) -> Any:
    """The recipe with `field=value` put in, `a.b` for a field of an object."""
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or not isinstance(recipe, dict):
            raise BadInput(f"--set is written FIELD=VALUE, not {change!r:.60}")
        try:
            value = json.loads(text)  # a word of the command line, and text where it is no JSON
        except (ValueError, RecursionError):
            value = text
        *outer, field = name.split(".")
        place = recipe
        for part in outer:
            inner = place.get(part)
            place[part] = inner if isinstance(inner, dict) else {}
            place = place[part]
        place[field] = value
    return recipe

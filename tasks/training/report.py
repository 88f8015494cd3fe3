"""What a training leaves for people: the model card, the curves, and one page of both."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inference.contract.counted import counted
from tasks.photoz.metric_intervals import DELTA, INTERVAL, METRICS, intervals, metric_stats
from tasks.photoz.plots import redshift_pictures
from tasks.photoz.scores import interval_stats
from tasks.reporting.figures import COLD, STYLE, WARM, WIDTH, Picture, legend_above, svg_of
from tasks.reporting.formatting import markdown_table, number
from tasks.reporting.page import render_page
from tasks.training.loop import Trained
from tasks.training.uncertainty import uncertainty_text

Facts = Mapping[str, Any]


def curves(history: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Each phase's curves as SVG by name: the loss, and beside the training's the NMAD of the galaxies looked at."""
    drawn = {}
    for phase, entries in history.items():
        if not entries:
            continue
        metrics = [name for name in ("nmad", "r2") if entries[0].get(name) is not None]
        figure = Figure(figsize=(WIDTH, 2.2 + 1.4 * len(metrics)), layout="constrained")
        with mpl.rc_context(STYLE):
            panels = np.atleast_1d(figure.subplots(1 + len(metrics), 1, sharex=True))
            epochs = [entry["epoch"] for entry in entries]
            panels[0].plot(
                epochs, [entry["loss"] for entry in entries], color=WARM, marker="o", markersize=3, label="loss"
            )
            panels[0].set_yscale("log")
            panels[0].set_ylabel("mean loss")
            for axes, name in zip(panels[1:], metrics, strict=True):
                values = [np.nan if entry[name] is None else entry[name] for entry in entries]
                label = f"{'NMAD' if name == 'nmad' else 'R²'} of the galaxies looked at"
                axes.plot(epochs, values, color=COLD, marker="s", markersize=3, label=label if name == "nmad" else "_")
                axes.set_ylabel("NMAD" if name == "nmad" else "R²")
                if name == "nmad":
                    axes.set_ylim(0)
                else:
                    axes.set_ylim(max(min(values), -0.1) - 0.02, 1)
            for axes in panels:
                axes.grid(axis="y", color="#e3e7ec", linewidth=0.7)
                axes.set_axisbelow(True)
            panels[-1].xaxis.set_major_locator(MaxNLocator(10, integer=True))
            panels[-1].set_xlabel("epoch")
            handles, labels = zip(
                *(part for axes in panels for part in zip(*axes.get_legend_handles_labels(), strict=True)), strict=True
            )
            legend_above(figure, list(handles), list(labels))
            drawn[phase] = svg_of(figure, f"curve-{phase}", f"Curves of {phase}")
    return drawn


def facts_of(trained: Trained, recipe: Facts, config: Facts, data: Facts) -> dict[str, Any]:
    """All that the card says, as JSON.

    Args:
        trained: the outcome.
        recipe: `Recipe.to_dict`.
        config: `AstroMAEConfig.to_dict`.
        data: name, galaxies, and the sizes of `tasks.training.galaxies.Split`.
    """
    speeds = {
        phase: {
            "epochs": len(entries),
            "seconds": sum(entry["seconds"] for entry in entries),
            "galaxies_per_s": float(np.median([entry["galaxies_per_s"] for entry in entries])),
        }
        for phase, entries in trained.history.items()
        if entries
    }
    return {
        "parameters": sum(weights.numel() for weights in trained.model.parameters()),
        "config": dict(config),
        "recipe": dict(recipe),
        "data": dict(data),
        "device": trained.device,
        "metrics": trained.metrics,
        "intervals": {name: list(ends) for name, ends in intervals(trained.test.z_pred, trained.test.z_spec).items()},
        "speed": speeds,
    }


def card(facts: Facts, files: Mapping[str, int]) -> str:
    """The model card, as Markdown.

    Args:
        facts: `facts_of`.
        files: bytes by name of the files of weights.
    """
    recipe, data = facts["recipe"], facts["data"]
    how = recipe["pretraining"]
    first = "All branches were trained together from scratch, without pre-training."
    if how:
        then = "and then kept as it was" if recipe["frozen_encoder"] else "then trained with the rest"
        first = (
            f"The encoder was pre-trained as a masked autoencoder ({counted(how['epochs'], 'epoch')},"
            f" {how['mask_ratio']:.0%} of"
            f" the patches hidden) on {counted(data['pretraining'], 'galaxy')}, {then}."
        )
    rows = []
    for metric in METRICS:
        if metric.key in facts["metrics"]:
            ends = facts["intervals"].get(metric.key)
            shown = f"{metric.show(ends[0])} to {metric.show(ends[1])}" if ends else ""
            rows.append((metric.label, metric.show(facts["metrics"][metric.key]), shown, metric.how))
    speed = [
        (phase, str(of["epochs"]), number(of["seconds"], "s"), number(of["galaxies_per_s"], "galaxies/s"))
        for phase, of in facts["speed"].items()
    ]
    config, named = facts["config"], recipe["data"].get("bands")
    side, bands = config["image_size"], " ".join(named) if named else counted(config["bands"], "band")
    weights = "; ".join(f"`{name}` {size / 1e6:.1f} MB" for name, size in files.items())
    return "\n\n".join(
        [
            "# Model card",
            f"AstroMAE, {facts['parameters']:,} parameters, redshifts from cut-outs of {side} x {side} pixels in"
            f" {bands} (nanomaggies) and AB magnitudes. {weights}.",
            f"**Data.** {data['name']}: {counted(data['galaxies'], 'galaxy')}, {data['train']:,} of them"
            f" trained on with their"
            f" redshift, {data['validation']:,} for validation after each epoch, {data['test']:,} for the figures"
            f" below. The split is random, seed {recipe['seed']}.",
            f"**Training.** {first} {counted(recipe['epochs'], 'epoch')}, batches of {recipe['batch_size']},"
            f" AdamW with one"
            f" cycle up to {recipe['learning_rate']:g}, quarter turns and mirroring, a moving average of the weights"
            f" ({recipe['averaging']:g}), {recipe['precision']} arithmetic, on {facts['device']}.",
            markdown_table(("Phase", "Epochs", "Wall time", "Median speed"), speed),
            f"**Quality** on the {counted(data['test'], 'galaxy')} that nothing was chosen by. {DELTA}. Intervals are"
            f" {INTERVAL}.",
            markdown_table(("Metric", "Value", "95 % interval", "What it is"), rows),
            f"**Uncertainty.** {uncertainty_text(facts.get('uncertainty'), data['validation'])}",
            "**Use.** Only for galaxies like those of the data: of the same bands, depth, seeing and range of"
            " redshifts. What it says of others is not known.",
            f"**Recipe.**\n\n```json\n{json.dumps({'model': facts['config'], **recipe}, indent=1)}\n```\n",
        ]
    )


def page(trained: Trained, facts: Facts, weights: str = "model.safetensors") -> str:
    """Quality, galaxies, curves, limits and use as one HTML document without scripts or outside resources."""
    rows = pd.DataFrame(trained.test._asdict())
    return render_page(
        "training.html",
        facts=facts,
        metrics=metric_stats(facts["metrics"], facts["intervals"]),
        uncertainty=interval_stats(facts.get("uncertainty") or {}),
        redshifts=redshift_pictures(rows, trained.metrics),
        galaxies=_galaxies(facts["data"], pretrained=bool(facts["recipe"]["pretraining"])),
        phases=list(_phases(trained, facts)),
        model=_model(facts),
        recipe=json.dumps({"model": facts["config"], **facts["recipe"]}, indent=2),
        limits=_limits(trained, facts),
        use=json.dumps({"model": weights}, indent=2),
    )


def _galaxies(data: Facts, *, pretrained: bool) -> list[tuple[str, str]]:
    counts = {
        "All": data["galaxies"],
        **({"Pre-trained on": data["pretraining"]} if pretrained else {}),
        "Trained on, with their redshift": data["train"],
        "Validation, after each epoch": data["validation"],
        "Test, for the figures above": data["test"],
    }
    return [("Where", data["name"]), *((label, f"{count:,}") for label, count in counts.items())]


def _phases(trained: Trained, facts: Facts) -> Iterator[dict[str, Any]]:
    """Title, curve and facts of pre-training and training."""
    recipe = facts["recipe"]
    titles = {"pretraining": "Pre-training", "training": "Training"}
    captions = {
        "pretraining": "The loss is of the hidden patches.",
        "training": "The loss is of (z_pred - z_spec) / (1 + z_spec).",
    }
    for phase, svg in curves(trained.history).items():
        speed, settings = facts["speed"][phase], recipe["pretraining"] if phase == "pretraining" else recipe
        yield {
            "title": titles[phase],
            "curve": Picture(svg, captions[phase]),
            "facts": [
                ("Epochs", f"{speed['epochs']:,}"),
                ("Wall time", number(speed["seconds"], "s")),
                ("Median speed", number(speed["galaxies_per_s"], "galaxies/s")),
                ("Last loss", number(trained.history[phase][-1]["loss"])),
                ("Batch size", number(settings["batch_size"])),
                ("Highest learning rate", f"{settings['learning_rate']:g}"),
                ("Arithmetic", f"{recipe['precision']} on {facts['device']}"),
            ],
        }


def _limits(trained: Trained, facts: Facts) -> list[tuple[str, str]]:
    """For which galaxies the figures hold."""
    z_spec, scale = trained.test.z_spec, facts["recipe"]["data"].get("pixel_scale")
    return [
        ("Only for", "galaxies like those it saw: of the same bands, depth and seeing"),
        ("Redshifts", f"{z_spec.min():.3g} to {z_spec.max():.3g} among the galaxies that the figures are of"),
        ("Pixels", "of a scale that is not known" if scale is None else f"of {scale:.4g} arcseconds"),
        ("Figures", f"of {counted(facts['data']['test'], 'galaxy')}, which set the width of their intervals"),
    ]


def _model(facts: Facts) -> list[tuple[str, str]]:
    config = facts["config"]
    return [
        ("Parameters", f"{facts['parameters']:,}"),
        ("Image", f"{config['bands']} bands of {config['image_size']} x {config['image_size']} pixels"),
        ("Encoder", f"{config['depth']} blocks of width {config['width']}, patches of {config['patch']} pixels"),
        ("Magnitudes", f"{config['magnitude_layers']} layers of {config['magnitude_width']}"),
    ]
